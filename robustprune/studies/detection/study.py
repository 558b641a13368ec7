"""The detection study: how robust detectors fare when they are scored, pruned and fine-tuned in different ways.

Four stages, and for each what determines its result.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from robustprune.attacks import configured
from robustprune.core.arrays import Arrays, to_arrays
from robustprune.core.device_memory import hands_back_memory
from robustprune.core.devices import in_full_precision
from robustprune.core.errors import InputError
from robustprune.core.host_memory import keep_freed
from robustprune.core.operations import Workload
from robustprune.core.progress import NOWHERE, Progress
from robustprune.core.randomness import generator_for, seed_for
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.couplings import couplings
from robustprune.detection.darknet.weights import load_weights
from robustprune.detection.data.samples import Samples
from robustprune.detection.kept_models import ENDINGS, model_files
from robustprune.detection.losses import LOSSES
from robustprune.detection.measure.detection_table import COLUMNS, detection_table
from robustprune.detection.measure.evaluation import Measured, evaluate
from robustprune.detection.measure.pruned import measure_pruned
from robustprune.detection.objective import Objective
from robustprune.detection.pictures.galleries import Gallery, Lines, chosen_images, detection_gallery
from robustprune.detection.training import train
from robustprune.initializers import INITIALIZERS, Problem
from robustprune.structures import STRUCTURES
from robustprune.structures import masks as masking
from robustprune.studies.declared import NONE, Axis, Cell, Stage, Study
from robustprune.studies.detection.settings import DetectionSettings, stage_inputs
from robustprune.studies.detection.work import stage_work
from robustprune.studies.trade_off import ACCURACY_AGAINST_TIME


class DetectionStudy(Study):
    """Adversarially trained detectors, pruned by different scores in different structures."""

    Settings: ClassVar = DetectionSettings
    axes: ClassVar = (
        Axis("structure", str, choices=tuple(STRUCTURES)),
        Axis("initializer", str, choices=tuple(INITIALIZERS)),
        Axis("colour", str, choices=("rgb", "greyscale")),
        Axis("seed", int, bounds=(0, 2**31 - 1)),
        Axis("ratio", float, bounds=(0.0, 1.0)),
    )
    stages: ClassVar = ("base", "pretrain", "score", "evaluate_row")
    row_axis: ClassVar = "ratio"
    pruned: ClassVar = "weights"
    replicate_axis: ClassVar = "seed"
    panel_axis: ClassVar = None
    columns: ClassVar = {
        "map_adv": float,
        "map50_adv": float,
        "map_clean": float,
        "map50_clean": float,
        "inference_ms": float,
        "inference_ms_p50": float,
        "inference_ms_p95": float,
        "inference_ms_dense": float,
        "inference_ms_dense_p50": float,
        "speedup": float,
        "params_total": int,
        "params_kept": int,
        "params_compact": int,
        "macs_dense": int,
        "macs": int,
        "macs_compact": int,
        "weights_pruned": float,
        "filters_pruned": float,
        "engine": str,
        "finetune_s": float,
        "evaluate_s": float,
        "device": str,
        "threads": int,
        "torch_version": str,
    }
    tables: ClassVar = {"detections": COLUMNS}
    metrics: ClassVar = {
        "map_adv": "COCO AP under attack",
        # Not milliseconds: those drift with the machine, the ratio to the same process's dense detector does not.
        "speedup": "speed-up over the unpruned detector (×)",
    }
    trade_off: ClassVar = ACCURACY_AGAINST_TIME

    def __init__(self, settings: DetectionSettings) -> None:
        """Take validated settings; reads no data."""
        self.settings = settings
        self._samples: dict[str, Samples] = {}

    # What the engine asks before anything runs

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """What a row leaves beside it to take away: its model, where that is to be kept."""
        return {"models": ENDINGS} if self.settings.keep_models else {}

    def check(self, cells: Sequence[Cell]) -> list[str]:
        """Read the data set's annotations, the .cfg and the weights; return what was mended in the data.

        Raises:
            InputError: something in them is wrong.
        """
        # No matter of validation: sweeps of both were run, and their specs must still be read.
        if self.settings.detector.weights is not None and self.settings.base is not None:
            raise InputError("base: found a training, but detector.weights too, expected one of them (--set base=null)")
        splits = self.settings.dataset.splits()
        stride, size = self._start().stride, self.settings.detector.image_size
        if size % stride:
            raise InputError(f"detector.image_size is {size}, expected a multiple of {stride}")
        chosen_images(splits[1], self.settings.detections.images or ())
        return [split.remark for split in splits if split.remark is not None]

    def baselines(self, cells: Sequence[Cell]) -> list[dict[str, Any]]:
        """Return a cell per colour for the detector that was neither adversarially trained nor pruned."""
        colours = dict.fromkeys(cell["colour"] for cell in cells)
        seed = self.settings.base_seed
        return [
            {"structure": NONE, "initializer": NONE, "colour": colour, "seed": seed, "ratio": 0.0} for colour in colours
        ]

    def is_baseline(self, cell: Cell) -> bool:
        """Say whether a cell is one of `baselines`."""
        return bool(cell["initializer"] == NONE)

    def stage(self, name: str, cell: Cell) -> Stage | None:
        """Declare what a stage of a cell depends on; None where the cell does without."""
        trial = ("structure", "initializer", "colour", "seed")
        if name == "base":
            return Stage((), self._inputs["base"])
        if name == "evaluate_row":
            unpruned = self.is_baseline(cell)
            # 2: coupled filters are pruned together, and every row is timed in its best engine.
            reads = ("base" if unpruned else "pretrain", "score")
            inputs = self._inputs["baseline" if unpruned else "evaluate_row"]
            return Stage((*trial, "ratio"), inputs, version=2, reads=reads)
        if self.is_baseline(cell):
            return None
        if name == "pretrain":
            return Stage(("colour", "seed") if self.settings.share_pretraining else trial, self._inputs["pretrain"])
        assert name == "score"
        if cell["ratio"] == 0:
            return None
        initializer = str(cell["initializer"])
        if not INITIALIZERS[initializer].per_ratio:
            return Stage(("initializer", "colour", "seed"), self._inputs[initializer])
        # 2: coupled filters are masked together.
        version = 2 if cell["structure"] == "structured" else 1
        return Stage((*trial, "ratio"), self._inputs[initializer], version=version)

    def workloads(self, name: str, cell: Cell) -> list[Workload]:  # type: ignore[override]
        """Return the parts of a stage's work; nothing for an initializer that does not tell its own."""
        row = "baseline" if self.is_baseline(cell) else "evaluate_row"
        return self._work[{"score": str(cell["initializer"]), "evaluate_row": row}.get(name, name)]

    @functools.cached_property
    def _inputs(self) -> dict[str, dict[str, Any]]:
        return stage_inputs(self.settings)

    @functools.cached_property
    def _work(self) -> dict[str, list[Workload]]:
        return stage_work(self.settings)

    # The stages. Each goes on from what its `progress` has, if anything

    @hands_back_memory
    def base(self, cell: Cell, progress: Progress = NOWHERE) -> Arrays:
        """Train on clean colour images, or take the weights given."""
        detector = self._placed(self._start())
        if self.settings.detector.weights is None:
            assert self.settings.base is not None
            train(
                detector,
                self._split("train", "rgb"),
                objective=Objective(loss=LOSSES[self.settings.detector.loss], compute=self.settings.compute),
                settings=self.settings.base,
                generator=generator_for(self.settings.base_seed, "base"),
                progress=progress,
            )
        return to_arrays(detector.state_dict())

    @hands_back_memory
    def pretrain(self, cell: Cell, base: Arrays, progress: Progress = NOWHERE) -> Arrays:
        """Train adversarially, from the base detector."""
        detector = self._restore(base)
        generator = generator_for(cell["seed"], "pretrain")
        train(
            detector,
            self._split("train", cell["colour"]),
            objective=self._robust(generator),
            settings=self.settings.pretrain,
            generator=generator,
            progress=progress,
        )
        return to_arrays(detector.state_dict())

    @hands_back_memory
    def score(self, cell: Cell, checkpoint: Arrays, progress: Progress = NOWHERE) -> Arrays:
        """Score the weights of the checkpoint."""
        name = str(cell["initializer"])
        method = INITIALIZERS[name]
        generator = generator_for(cell["seed"], "score")
        problem = Problem(
            samples=self._split("train", cell["colour"]),
            objective=self._robust(generator),
            generator=generator,
            structure=str(cell["structure"]) if method.per_ratio else None,
            ratio=float(cell["ratio"]) if method.per_ratio else None,
            prune_heads=self.settings.prune_heads,
            progress=progress,
        )
        scores = method.score(self._restore(checkpoint), problem, getattr(self.settings.initializers, name))
        return to_arrays(scores)

    @hands_back_memory
    def evaluate_row(
        self, cell: Cell, checkpoint: Arrays, scores: Arrays | None, progress: Progress = NOWHERE
    ) -> dict[str, Any]:
        """Prune, fine-tune under attack, and measure on the validation images."""
        detector = self._restore(checkpoint)
        masks: dict[str, Tensor] = {}
        if scores is not None:
            importance = {layer: torch.tensor(array) for layer, array in scores.items()}
            draw, groups = STRUCTURES[str(cell["structure"])], couplings(detector, importance)
            drawn = draw(importance, float(cell["ratio"]), groups)
            masks = {layer: mask.to(self._device) for layer, mask in drawn.items()}
        start = time.perf_counter()
        if not self.is_baseline(cell):
            masking.apply(masks, detector.prunable_layers(heads=True))
            generator = generator_for(cell["seed"], "finetune")
            train(
                detector,
                self._split("train", cell["colour"]),
                objective=self._robust(generator),
                settings=self.settings.finetune,
                generator=generator,
                masks=masks,
                progress=progress,
            )
        finetuned = time.perf_counter()
        samples = self._split("val", cell["colour"])
        exact = replace(self._robust(generator_for(cell["seed"], "evaluate")), compute=self.settings.compute.exactly())
        with in_full_precision():
            measured = evaluate(detector, samples, objective=exact, settings=self.settings.evaluation)
        found = {"clean": measured.clean_detections, "attacked": measured.attacked_detections}
        size, classes = self.settings.detector.image_size, samples.split.category_names
        kept = self.settings.detections.kept_of(len(samples))
        return {
            **_precisions(measured),
            **measure_pruned(
                detector,
                masks,
                dense=self._restore(checkpoint),
                image_size=size,
                repeats=self.settings.evaluation.timing_repeats,
                warm_up=self.settings.evaluation.timing_warm_up,
            ),
            "finetune_s": finetuned - start,
            "evaluate_s": time.perf_counter() - finetuned,
            "threads": torch.get_num_threads(),
            "torch_version": str(torch.__version__),
            "detections": detection_table(samples.split, **found) if kept else None,
            **{name: model_files(detector, cell=cell, image_size=size, classes=classes) for name in self.files},
        }

    # What the report shows

    def galleries(  # type: ignore[override]
        self, rows: Sequence[Mapping[str, Any]], lines: Callable[[str, str], Lines | None]
    ) -> list[Gallery]:
        """Return what the models found in the images chosen; nothing where none are to be shown.

        Raises:
            InputError: the data cannot be read here, or no detections were kept.
        """
        settings = self.settings.detections
        if not rows or settings.images == []:
            return []
        val_split = self.settings.dataset.splits()[1]
        gallery = detection_gallery(
            rows,
            functools.partial(lines, "detections"),
            split=val_split,
            images=chosen_images(val_split, settings.images),
            confidence=settings.confidence,
            is_baseline=self.is_baseline,
        )
        return [gallery]

    # Parts

    @functools.cached_property
    def _device(self) -> torch.device:
        # Only stages come here: planning changes nothing of the process and opens no GPU.
        torch.set_num_threads(self.settings.threads)
        keep_freed()
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def _robust(self, generator: torch.Generator) -> Objective:
        """Return the objective under attack; random starts are drawn from `generator`, whose state trainings keep."""
        return Objective(
            loss=LOSSES[self.settings.detector.loss],
            attack=configured(self.settings.attack, generator),
            compute=self.settings.compute,
        )

    def _split(self, split: str, colour: str) -> Samples:
        if split not in self._samples:
            train_split, val_split = self.settings.dataset.splits()
            self._samples[split] = Samples(
                train_split if split == "train" else val_split,
                image_size=self.settings.detector.image_size,
                workers=self.settings.loader.workers,
                cache_bytes=int(self.settings.loader.cache_gib * 2**30),
            )
        return self._samples[split].in_colour("rgb" if colour == "rgb" else "greyscale")

    def _start(self) -> Detector:
        """Return the detector before any training of ours: fresh from the base seed, or with the weights given."""
        settings = self.settings.detector
        classes = len(self.settings.dataset.splits()[0].categories)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(self.settings.base_seed, "initialise"))
            detector = Detector.from_cfg(settings.config, classes=classes)
        if settings.weights is not None:
            load_weights(detector, settings.weights)
        return detector

    def _restore(self, arrays: Arrays) -> Detector:
        classes = len(self.settings.dataset.splits()[0].categories)
        detector = Detector.from_cfg(self.settings.detector.config, classes=classes)
        # Copies: the arrays may be read-only views of memory that other processes share.
        detector.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        return self._placed(detector).eval()

    def _placed(self, detector: Detector) -> Detector:
        return detector.to(self._device, memory_format=self.settings.compute.memory_format)  # type: ignore[call-overload,no-any-return]


def _precisions(measured: Measured) -> dict[str, float]:
    assert measured.attacked is not None
    return {
        "map_adv": measured.attacked.ap,
        "map50_adv": measured.attacked.ap50,
        "map_clean": measured.clean.ap,
        "map50_clean": measured.clean.ap50,
    }
