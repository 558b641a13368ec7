"""The detection study: how robust detectors fare when they are scored, pruned and fine-tuned in different ways."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch

from robustprune.core.arrays import Arrays, to_arrays
from robustprune.core.devices import in_full_precision
from robustprune.core.operations import Work
from robustprune.core.progress import NOWHERE, Progress
from robustprune.core.randomness import generator_for
from robustprune.core.timing import DOUBTS
from robustprune.detection import networks
from robustprune.detection.data.datasets import DATASETS
from robustprune.detection.losses import LOSSES
from robustprune.detection.measure import breakdown, detection_table, kitti_ap
from robustprune.detection.measure.pruned import measure_pruned
from robustprune.detection.task import DetectionTask
from robustprune.methods import INITIALIZERS, method_tables
from robustprune.plugins import identities
from robustprune.studies.caveats import seeds_vary, short_retraining, unlike_methods
from robustprune.studies.detection.checks import check_inputs
from robustprune.studies.detection.columns import (
    COLUMNS,
    DECLARED_OF_LEVELS,
    HARD,
    HARD_PRUNED,
    MEANINGS,
)
from robustprune.studies.detection.facts import data_tables, detection_facts
from robustprune.studies.detection.galleries import chosen_images, detection_gallery
from robustprune.studies.detection.inputs import arranged, load_weights, network_input, samples
from robustprune.studies.detection.kept import KeptDetectors
from robustprune.studies.detection.settings import DetectionSettings, stage_inputs
from robustprune.studies.detection.trade_off import ACCURACY_AGAINST_TIME
from robustprune.studies.detection.work import Scale, scale, scoring_work, stage_work
from robustprune.studies.drafts.detection import COCO
from robustprune.studies.drafts.kitti import KITTI
from robustprune.studies.on_device import on_device
from robustprune.studies.pruning.axes import INITIALIZER, RATIO, SEED, STRUCTURE, structure_entry
from robustprune.studies.pruning.ratios import ratio_inputs
from robustprune.studies.pruning.retraining import measurable
from robustprune.studies.pruning.seen import seen_columns, trained
from robustprune.studies.pruning.under_attack import objective_under
from robustprune.task import Task
from robustprune.training import Objective, train
from sweeps.study import NONE, Axis, Cell, DataTable, Gallery, Lines, Stage, Workload

COLOUR = Axis("colour", str, choices=("rgb", "greyscale"), meaning="of the images, for training and measuring")

PRETRAIN_VERSION, COUPLED_SCORES_VERSION, ROW_VERSION, MASKED_FILTERS_VERSION = 2, 3, 3, 5
"""Raised when the same settings give other checkpoints, scores under coupled masks, rows, or rows of masked filters;
CHANGELOG.md says how."""

_DATA = ("dataset", "detector", "compute", "loader", "threads", "augmentation")
_ROBUST = (*_DATA, "attack", "adversary", "objective", "grad_align", "free", "overfitting")
_PRUNED = (*_ROBUST, "prune_heads", "scope", "seed_draws")
_ROW = ("ratios", "finetune", "renewal", "evaluation", "detections", "hard_pruned", "keep_models")


class DetectionStudy(KeptDetectors):
    """Adversarially trained detectors, pruned by different scores in different structures."""

    Settings: ClassVar = DetectionSettings
    settings: DetectionSettings
    axes: ClassVar = (STRUCTURE, INITIALIZER, COLOUR, SEED, RATIO)
    stages: ClassVar = ("base", "pretrain", "score", "evaluate_row")
    pruned: ClassVar = "weights"
    removes_channels: ClassVar = False
    columns: ClassVar = COLUMNS
    tables: ClassVar = {
        "detections": detection_table.COLUMNS,
        "average_precision": breakdown.COLUMNS,
        "levels": kitti_ap.COLUMNS,
        **method_tables(),
    }
    metrics: ClassVar = {
        "map_adv": "COCO AP under attack",
        "map_clean": "COCO AP on clean images",
        "map_adv_hard": "COCO AP under attack, hard-pruned",
        "map_clean_hard": "COCO AP on clean images, hard-pruned",
        # Not milliseconds: those drift with the machine, the ratio to the same process's dense detector does not.
        "speedup": "speed-up over the unpruned detector (×)",
    }
    earlier: ClassVar = {"map_adv": "map_adv_hard", "map_clean": "map_clean_hard"}
    beside: ClassVar = {"map_adv": "map_clean"}
    meanings: ClassVar = MEANINGS
    doubts: ClassVar = DOUBTS
    baseline_name: ClassVar = "unpruned, unprotected"
    trade_off: ClassVar = ACCURACY_AGAINST_TIME
    drafts: ClassVar = {"coco": COCO, "kitti": KITTI}

    def __init__(self, settings: DetectionSettings) -> None:
        """Take validated settings; where the data has levels, rows are drawn and tested by these too."""
        super().__init__(settings)
        if getattr(settings.dataset, "has_levels", False):
            for name, columns in DECLARED_OF_LEVELS.items():  # of this instance alone
                setattr(self, name, {**getattr(self, name), **columns})

    # What the engine asks before anything runs

    def check(self, cells: Sequence[Cell]) -> list[str]:
        """Read the data set, each of its pictures, the .cfg and the weights; return what was mended in the data.

        Raises:
            InputError: something in them is wrong, or a method does not fit.
        """
        remarks = self.check_methods(cells, LOSSES, DATASETS, networks.NETWORKS)
        return remarks + check_inputs(self.settings, cells, self._task("rgb", device=torch.device("cpu")))

    def data(self, cells: Sequence[Cell]) -> list[DataTable]:
        """Return how many images and boxes there are, of which classes."""
        return data_tables(self.settings)

    def replication(self, cells: Sequence[Cell]) -> str | None:
        """Return what seeds vary: trainings, and never the detector before pretraining."""
        settings = self.settings
        if len({cell["seed"] for cell in cells}) < 2:
            return None
        start = "given" if settings.detector.is_whole else "trained once"
        trained = {"pretraining": settings.pretrain.epochs, "fine-tuning": settings.finetune.epochs}
        return seeds_vary(trained, [f"the detector before pretraining ({start})"], draws=settings.seed_draws)

    @property
    def paired(self) -> bool:
        """Whether trials of one seed share its checkpoint."""
        return self.settings.share_pretraining

    def facts(self, cells: Sequence[Cell]) -> dict[str, str]:
        """Return the data, the detector, the attacks and the trainings."""
        return detection_facts(self.settings)

    def remarks(self, cells: Sequence[Cell]) -> list[str]:
        """Return a sentence where fine-tuning is short, or methods are not alike."""
        again, before = ("finetune", self.settings.finetune.epochs), ("pretrain", self.settings.pretrain.epochs)
        short = short_retraining(cells, again=again, before=before)
        return short + unlike_methods(cells, self.method_settings)

    def baselines(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return a cell per colour for the detector that was neither adversarially trained nor pruned."""
        colours = dict.fromkeys(cell["colour"] for cell in cells)
        seed = self.settings.base_seed
        return [
            {"structure": NONE, "initializer": NONE, "colour": colour, "seed": seed, "ratio": 0.0} for colour in colours
        ]

    def stage(self, name: str, cell: Cell) -> Stage | None:
        """Declare what a stage of a cell depends on; None where the cell does without."""
        # Declared once of cells that are alike in all that it depends on: a large grid asks a million times.
        kind = (name, cell["structure"], cell["initializer"], cell["ratio"] == 0)
        if kind not in self._declared:
            self._declared[kind] = self._stage(name, cell)
        return self._declared[kind]

    def _stage(self, name: str, cell: Cell) -> Stage | None:
        trial = ("structure", "initializer", "colour", "seed")
        checkpoint = ("colour", "seed") if self.settings.share_pretraining else trial
        initializer, structure = str(cell["initializer"]), str(cell["structure"])
        if name == "base":
            base = () if self.settings.detector.is_whole else ("colour",)  # weights that are given serve every colour
            return Stage(base, self._inputs["base"], fields=(*_DATA, "base"))
        if name == "evaluate_row":
            fields = (*_PRUNED, "share_pretraining", "base", *_ROW)
            if self.is_baseline(cell):
                inputs = self._inputs["baseline"]
                return Stage((*trial, "ratio"), inputs, version=ROW_VERSION, fields=fields, reads=("base", "score"))
            inputs = self._inputs["evaluate_row"] | ratio_inputs(self.settings, cell)
            inputs = inputs | identities(structure_entry(structure))
            version = MASKED_FILTERS_VERSION if self.masks_filters(cell) else ROW_VERSION
            return Stage((*trial, "ratio"), inputs, version=version, fields=fields, reads=("pretrain", "score"))
        if self.is_baseline(cell):
            return None
        if name == "pretrain":
            if self.is_from_scratch(cell):
                return None
            seen = (*_ROBUST, "pretrain", "share_pretraining", "seed_draws")
            return Stage(checkpoint, self._inputs["pretrain"], version=PRETRAIN_VERSION, fields=seen)
        assert name == "score"
        version = COUPLED_SCORES_VERSION if initializer == "hydra" and structure == "structured" else 1
        return self.scored(
            cell, self._inputs.__getitem__, checkpoint=("colour", "seed"), fields=_PRUNED, version=version
        )

    def code(self, name: str, cell: Cell) -> Mapping[str, Sequence[str]]:
        """Return the modules that make a stage's result."""
        own = {"detection": [type(self).__module__, DetectionTask.__module__]}
        if name == "base" or (name == "pretrain"):
            attack = None if name == "base" else self.settings.training_attack.name
            return own | self.method_code(cell | {"ratio": 0.0}, structure=False, attack=attack)
        method = INITIALIZERS.get(str(cell["initializer"]))
        structure = name == "evaluate_row" or (method is not None and (method.per_structure or method.per_ratio))
        own |= self.method_code(cell, structure=structure, attack=self.settings.training_attack.name)
        return own | self.method_code(cell, structure=structure, attack=self.settings.attack.name)

    def workloads(self, name: str, cell: Cell) -> list[Workload]:
        """Return the parts of a stage's work; nothing for an initializer that does not tell its own."""
        # Filters that are gone are computed with no more while the others are trained.
        left = 1 - float(cell["ratio"]) if name in ("score", "evaluate_row") and self.masks_filters(cell) else 1.0
        if name == "score":
            parts = scoring_work(self.settings, self._scale, str(cell["initializer"]), left=left)
        else:
            row = "baseline" if self.is_baseline(cell) else "evaluate_row"
            parts = self._work(left**2)[{"evaluate_row": row}.get(name, name)]
        return [Workload(*part) for part in parts]

    @functools.cached_property
    def _declared(self) -> dict[tuple[Any, ...], Stage | None]:
        return {}

    @functools.cached_property
    def _inputs(self) -> dict[str, dict[str, Any]]:
        return stage_inputs(self.settings)

    @functools.cached_property
    def _scale(self) -> Scale:
        return scale(self.settings)

    def _work(self, left: float) -> dict[str, list[Work]]:
        if left not in self._counted:
            self._counted[left] = stage_work(self.settings, self._scale, left=left)
        return self._counted[left]

    @functools.cached_property
    def _counted(self) -> dict[float, dict[str, list[Work]]]:
        return {}

    # The stages. Each goes on from what its `progress` has, if anything

    @on_device
    def base(self, cell: Cell, progress: Progress = NOWHERE) -> Arrays:
        """Train on clean images, or take the weights given."""
        task = self._task("rgb" if self.settings.detector.is_whole else str(cell["colour"]))
        detector = task.fresh(self.settings.base_seed)
        if not self.settings.detector.is_whole:
            assert self.settings.base is not None
            train(
                detector,
                objective=Objective(task=task),
                settings=self.settings.base,
                generator=generator_for(self.settings.base_seed, "base"),
                progress=progress,
            )
        return to_arrays(detector.state_dict())

    @on_device
    def pretrain(self, cell: Cell, base: Arrays, progress: Progress = NOWHERE) -> Arrays:
        """Train adversarially, from the base detector."""
        task = replace(self._task(str(cell["colour"])), data_seed=self.data_seed(cell))
        detector = task.restored(base)
        generator = self._generator(cell, "pretrain")
        objective = self.objective(task, generator, attacked=True)
        return trained(
            detector,
            objective=objective,
            settings=self.settings.pretrain,
            generator=generator,
            watch=self.watch(cell, objective),
            progress=progress,
        )

    @on_device
    def evaluate_row(
        self, cell: Cell, checkpoint: Arrays | None, found: Arrays | None, progress: Progress = NOWHERE
    ) -> dict[str, Any]:
        """Prune, fine-tune under attack, and measure on the validation images, before fine-tuning too."""
        settings = self.settings
        task = replace(self.task(cell), attack_settings=settings.attack, evaluation=settings.evaluation)
        detector = self.started(task, cell, checkpoint)
        start = time.perf_counter()
        pruned, renew_s, seen = self.prune(detector, cell, found, task=task), None, None
        hard, measuring_s = dict[str, Any].fromkeys(HARD_PRUNED), 0.0
        if not self.is_baseline(cell):
            generator = self._generator(cell, "finetune")
            objective = self.objective(task, generator, attacked=True)
            began = time.perf_counter()
            by_one_attack = replace(task, evaluation=settings.evaluation.model_copy(update={"margin": None}))
            hard = self.hard_pruned(
                detector,
                cell,
                pruned,
                objective=objective,
                renewal=settings.renewal,
                measure=functools.partial(by_one_attack.measure, seed=int(cell["seed"])),
                columns=HARD,
            )
            measuring_s = time.perf_counter() - began
            _, renew_s, seen = self.retrain(
                detector,
                cell,
                pruned,
                objective=objective,
                settings=settings.finetune,
                renewal=settings.renewal,
                generator=generator,
                progress=progress,
            )
        finetuned = time.perf_counter()
        with in_full_precision():
            measured = task.detections(measurable(detector, pruned, task), seed=int(cell["seed"]), progress=progress)
        assert task.val is not None
        detections = {"clean": measured.clean_detections, "attacked": measured.attacked_detections}
        lines = {"clean": measured.clean_lines, "attacked": measured.attacked_lines}
        return {
            **task.precisions(measured),
            **hard,
            **self.said(found),
            **seen_columns(checkpoint, seen),
            **measure_pruned(
                detector,
                pruned.masks,
                gone=pruned.gone,
                dense=self.started(task, cell, checkpoint),
                image_size=network_input(settings).size,
                timing=settings.evaluation,
            ),
            "finetune_s": None if self.is_baseline(cell) else finetuned - start - measuring_s,
            "renew_s": renew_s,
            "evaluate_s": time.perf_counter() - finetuned + measuring_s,
            "threads": torch.get_num_threads(),
            "torch_version": str(torch.__version__),
            "detections": detection_table.detection_table(task.val.split, **detections)
            if settings.detections.kept_of(len(task.val))
            else None,
            "average_precision": breakdown.breakdown_table(task.val.split, **lines),
            "levels": kitti_ap.level_table(task.val.split, measured.clean_levels, measured.attacked_levels),
            **self.kept(detector, cell, classes=task.val.split.category_names),
        }

    # What the report shows

    def galleries(self, rows: Sequence[Mapping[str, Any]], lines: Callable[[str, str], Lines | None]) -> list[Gallery]:
        """Return what the models found in the images chosen; nothing where none are to be shown.

        Raises:
            InputError: the data cannot be read here, or no detections were kept.
        """
        settings = self.settings.detections
        if not rows or settings.images == []:
            return []
        val_split = arranged(self.settings).splits[1]
        gallery = detection_gallery(
            rows,
            functools.partial(lines, "detections"),
            split=val_split,
            images=chosen_images(val_split, settings.images),
            confidence=settings.confidence,
            is_baseline=self.is_baseline,
            baseline_name=self.baseline_name,
        )
        return [gallery]

    # Parts

    @property
    def training_attack(self) -> Any:
        """Settings of the attack in training."""
        return self.settings.training_attack

    def task(self, cell: Mapping[str, Any]) -> DetectionTask:
        """Return detection in the cell's colour, for what prunes."""
        task = self._task(str(cell["colour"]))
        return replace(task, prune_heads=self.settings.prune_heads, data_seed=self.data_seed(cell))

    def objective(self, task: Task, generator: torch.Generator, *, attacked: bool) -> Objective:
        """Return the objective under attack, by default loss(clean) + loss(attacked); or loss(clean) alone."""
        if not attacked:
            return Objective(task=task)
        return objective_under(self.training_attack, settings=self.settings, task=task, generator=generator)

    def _generator(self, cell: Cell, purpose: str) -> torch.Generator:
        """Return where a training's random numbers come from: of a trial that shares no checkpoint, from it alone."""
        trial = () if self.settings.share_pretraining else (cell["structure"], cell["initializer"], cell["colour"])
        return generator_for(self.seed_of(cell, "training"), "/".join((purpose, *map(str, trial))))

    def scope(self, cell: Mapping[str, Any]) -> str:
        """Return what competes for staying: a setting here."""
        return self.settings.scope

    def _task(self, colour: str, *, device: torch.device | None = None) -> DetectionTask:
        settings, given = self.settings, self.settings.detector
        train_split, val_split = samples(settings, "train"), samples(settings, "val")
        classes, size = len(train_split.split.categories), train_split.image_size
        in_colour: Any = "rgb" if colour == "rgb" else "greyscale"
        return DetectionTask(
            build=functools.partial(networks.build, given.config, classes=classes, image_size=size, loss=given.loss),
            image_size=size,
            device=self.device() if device is None else device,
            train=train_split.in_colour(in_colour),
            val=val_split.in_colour(in_colour),
            weights=functools.partial(load_weights, settings=given) if given.starts_from_weights else None,
            compute=settings.compute,
            augmentation=settings.augmentation,
        )
