"""The classification study: how structural pruning changes what it takes to fool classifiers, robust ones and others.

Three stages, and for each what determines its result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from robustprune.attacks import configured
from robustprune.classification import networks
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.importances import IMPORTANCES, Problem
from robustprune.classification.measure.attacks import check as check_attack
from robustprune.classification.measure.cost import measure_cost
from robustprune.classification.measure.evaluation import PERTURBATIONS, ROBUSTNESS, evaluate
from robustprune.classification.networks.classifier import NORMALISATIONS, Classifier
from robustprune.classification.objective import Objective
from robustprune.classification.pruning import SCOPES, Pruned, prune, unpruned
from robustprune.classification.training import Training, train
from robustprune.classification.weights.fitting import load_weights
from robustprune.core.arrays import Arrays, to_arrays
from robustprune.core.device_memory import hands_back_memory
from robustprune.core.devices import in_full_precision
from robustprune.core.errors import InputError
from robustprune.core.host_memory import keep_freed
from robustprune.core.operations import Workload
from robustprune.core.progress import NOWHERE, Progress
from robustprune.core.randomness import generator_for, seed_for
from robustprune.studies.classification.settings import (
    TRAININGS,
    ClassificationSettings,
    pretrain_inputs,
    retrained_under_attack,
    row_inputs,
    score_inputs,
)
from robustprune.studies.classification.work import stage_work
from robustprune.studies.declared import NONE, Axis, Cell, Stage, Study
from robustprune.studies.trade_off import TradeOff


class ClassificationStudy(Study):
    """Classifiers, adversarially trained or not, pruned by channels, and the distances at which they are fooled."""

    Settings: ClassVar = ClassificationSettings
    axes: ClassVar = (
        Axis("model", str),
        Axis("training", str, choices=TRAININGS),
        Axis("importance", str, choices=tuple(IMPORTANCES)),
        Axis("scope", str, choices=tuple(SCOPES)),
        Axis("seed", int, bounds=(0, 2**31 - 1)),
        Axis("sparsity", float, bounds=(0.0, 1.0)),
    )
    stages: ClassVar = ("pretrain", "score", "evaluate_row")
    row_axis: ClassVar = "sparsity"
    pruned: ClassVar = "channels"
    replicate_axis: ClassVar = "seed"
    panel_axis: ClassVar = "training"
    columns: ClassVar = {
        **ROBUSTNESS,
        "best_epoch": int,
        "channels_total": int,
        "channels_kept": int,
        "fewest_channels": int,
        "layers_at_floor": int,
        "params_total": int,
        "params_kept": int,
        "macs_dense": int,
        "macs": int,
        "inference_ms": float,
        "inference_ms_p50": float,
        "inference_ms_p95": float,
        "inference_ms_dense": float,
        "inference_ms_dense_p50": float,
        "speedup": float,
        "retrain_s": float,
        "evaluate_s": float,
        "device": str,
        "threads": int,
        "torch_version": str,
    }
    tables: ClassVar = {"perturbations": PERTURBATIONS}
    metrics: ClassVar = {
        "median_l2": "median L2 distance",
        "median_linf": "median L∞ distance",
        "median_l1": "median L1 distance",
        "median_l0": "median L0 distance (values changed)",
        "accuracy_clean": "accuracy, best epoch",
        "accuracy_adv": "accuracy under attack",
        "params_kept": "parameters",
        "macs": "multiply–accumulates per image",
        "speedup": "speed-up over the unpruned classifier (×)",
    }
    trade_off: ClassVar = TradeOff(
        title="Robustness against time",
        explanation=(
            "Time is told as a speed-up: how many images a pruned classifier processes in the time that the unpruned "
            "one needs for one. The two took turns in one process."
        ),
        against="speedup",
        metric="accuracy_adv",
    )

    def __init__(self, settings: ClassificationSettings) -> None:
        """Take validated settings; reads no data."""
        self.settings = settings
        self._declared: dict[tuple[object, ...], dict[str, Any]] = {}

    # What the engine asks before anything runs

    def check(self, cells: Sequence[Cell]) -> list[str]:
        """Read the data and every file of weights; return nothing, for nothing is mended.

        Raises:
            InputError: something in them is wrong, a model does not exist or take such images, or a package is missing.
        """
        evaluation, classes = self.settings.evaluation, len(self.settings.dataset.classes)
        for attack in (evaluation.attack, *evaluation.distances):
            check_attack(attack, classes=classes)
        for model in dict.fromkeys(str(cell["model"]) for cell in cells):
            networks.check_image_size(model, self.settings.dataset.image_size)
        self._check_weights(cells)
        self._check_images()
        return []

    def baselines(self, cells: Sequence[Cell]) -> list[dict[str, Any]]:
        """Return a cell for each model as it is before it is pruned and retrained."""
        kinds = dict.fromkeys((cell["model"], cell["training"], cell["seed"]) for cell in cells)
        unpruned = {"importance": NONE, "scope": NONE}
        return [
            {"model": model, "training": training, **unpruned, "seed": seed, "sparsity": 0.0}
            for model, training, seed in kinds
        ]

    def is_baseline(self, cell: Cell) -> bool:
        """Say whether a cell is one of `baselines`."""
        return bool(cell["importance"] == NONE)

    def stage(self, name: str, cell: Cell) -> Stage | None:
        """Declare what a stage of a cell depends on; None where the cell does without."""
        model, training, importance = (str(cell[axis]) for axis in ("model", "training", "importance"))
        if name == "pretrain":
            given = self.settings.given(model, training) is not None
            # Weights that are given are the same for every seed.
            axes = ["model", "training", *([] if given else ["seed"])]
            return Stage(tuple(axes), self._once(pretrain_inputs, model=model, training=training))
        if name == "evaluate_row":
            pruned = not self.is_baseline(cell)
            return Stage(
                tuple(axis.name for axis in self.axes),
                self._once(row_inputs, training=training, pruned=pruned),
                reads=("pretrain", "score"),
            )
        if self.is_baseline(cell) or IMPORTANCES[importance].score is None or cell["sparsity"] == 0:
            return None
        assert name == "score"
        axes = ["model", "training", "importance", "seed"]
        axes += ["scope", "sparsity"] if IMPORTANCES[importance].per_sparsity else []
        return Stage(tuple(axes), self._once(score_inputs, importance=importance, training=training))

    def workloads(self, name: str, cell: Cell) -> list[Workload]:  # type: ignore[override]
        """Return the parts of a stage's work."""
        return stage_work(self.settings, name, cell)

    def _once(self, inputs: Callable[..., dict[str, Any]], **of: Any) -> dict[str, Any]:
        """Return what `inputs` says of the settings, which may mean to read large files."""
        key = (inputs.__name__, *of.items())
        if key not in self._declared:
            self._declared[key] = inputs(self.settings, **of)
        return self._declared[key]

    # The stages. Each goes on from what its `progress` has, if anything

    @hands_back_memory
    def pretrain(self, cell: Cell, progress: Progress = NOWHERE) -> Arrays:
        """Train from scratch, adversarially or not, or take the weights given."""
        model, training = str(cell["model"]), str(cell["training"])
        classifier = self._placed(self._start(model, training, seed=cell["seed"]))
        if self.settings.given(model, training) is None:
            self._train(
                classifier,
                self.settings.pretrain,
                attacked=training == "adversarial",
                generator=generator_for(cell["seed"], "pretrain"),
                progress=progress,
            )
        return to_arrays(classifier.state_dict())

    @hands_back_memory
    def score(self, cell: Cell, checkpoint: Arrays, progress: Progress = NOWHERE) -> Arrays:
        """Score the weights of the checkpoint."""
        name = str(cell["importance"])
        method = IMPORTANCES[name]
        assert method.score is not None
        generator = generator_for(cell["seed"], "score")
        problem = Problem(
            images=self._training_images()[0],
            objective=self._objective(cell["training"] == "adversarial", generator),
            generator=generator,
            scope=str(cell["scope"]) if method.per_sparsity else None,
            sparsity=float(cell["sparsity"]) if method.per_sparsity else None,
            progress=progress,
        )
        classifier = self._restore(str(cell["model"]), checkpoint)
        return to_arrays(method.score(classifier, problem, getattr(self.settings.importances, name)))

    @hands_back_memory
    def evaluate_row(
        self, cell: Cell, checkpoint: Arrays, scores: Arrays | None, progress: Progress = NOWHERE
    ) -> dict[str, Any]:
        """Prune, retrain, and measure on the test images."""
        settings = self.settings
        classifier = self._restore(str(cell["model"]), checkpoint)
        start = time.perf_counter()
        pruned, best_epoch = self._prune(classifier, cell, scores), 0
        if not self.is_baseline(cell):
            best_epoch = self._train(
                classifier,
                settings.retrain,
                attacked=retrained_under_attack(settings, str(cell["training"])),
                generator=generator_for(cell["seed"], "retrain"),
                progress=progress,
            )
        retrained = time.perf_counter()
        with in_full_precision():
            measured = evaluate(
                classifier,
                settings.dataset.load("test"),
                settings=settings.evaluation,
                seed=seed_for(cell["seed"], "evaluate"),
            )
        return {
            **measured.columns,
            **pruned._asdict(),
            **measure_cost(
                classifier,
                dense=self._restore(str(cell["model"]), checkpoint),
                image_size=settings.dataset.image_size,
                repeats=settings.evaluation.timing_repeats,
                warm_up=settings.evaluation.timing_warm_up,
            ),
            "best_epoch": best_epoch,
            "retrain_s": retrained - start,
            "evaluate_s": time.perf_counter() - retrained - measured.attack_s,
            "threads": torch.get_num_threads(),
            "torch_version": str(torch.__version__),
            "perturbations": measured.perturbations,
        }

    def galleries(self, rows: Sequence[Mapping[str, Any]], lines: Callable[[str, str], object]) -> list[Any]:
        """Return nothing: there are no pictures to show."""
        return []

    # Parts

    def _check_weights(self, cells: Sequence[Cell]) -> None:
        """Load every file of weights, and see that each is of use and can be scored."""
        asked: dict[tuple[str, str], set[str]] = {}
        for cell in cells:
            asked.setdefault((str(cell["model"]), str(cell["training"])), set()).add(str(cell["importance"]))
        for model, files in self.settings.weights.items():
            trainings = [training for name, training in asked if name == model]
            trained_here = any(self.settings.given(model, training) is None for training in trainings)
            for use, weights in files:
                if weights is not None and (use not in trainings if use in TRAININGS else not trained_here):
                    raise InputError(f"weights.{model}.{use}: found {weights.file}, which no cell of the grid needs")
        for (model, training), importances in asked.items():
            classifier = self._start(model, training, seed=0)
            for importance in importances:
                check = IMPORTANCES[importance].check
                if check is not None:
                    check(classifier)

    def _check_images(self) -> None:
        """Read the images, and see that there are enough of them."""
        settings = self.settings
        settings.dataset.load("test")
        count = len(settings.dataset.load("train"))
        left = count - self._held_out(count)
        if left < 2:
            raise InputError(
                f"holdout: found {settings.holdout:g}, which leaves {left} of {count} images to train on, "
                "expected at least 2"
            )
        if settings.importances.hydra.batch_size < 2:
            raise InputError("importances.hydra.batch_size: found 1, expected at least 2, for batch norm")

    @property
    def _device(self) -> torch.device:
        # Only stages come here: planning changes nothing of the process and opens no GPU.
        torch.set_num_threads(self.settings.threads)
        keep_freed()
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def _prune(self, classifier: Classifier, cell: Cell, scores: Arrays | None) -> Pruned:
        image_size = self.settings.dataset.image_size
        if cell["sparsity"] == 0:
            return unpruned(classifier, image_size=image_size)
        pruned = prune(
            classifier,
            sparsity=float(cell["sparsity"]),
            scope=str(cell["scope"]),
            importance=IMPORTANCES[cell["importance"]].of_groups(scores, generator_for(cell["seed"], "prune")),
            image_size=image_size,
        )
        self._placed(classifier)  # what is left of a weight has a memory format of its own
        return pruned

    def _train(
        self,
        classifier: Classifier,
        settings: Training,
        *,
        attacked: bool,
        generator: torch.Generator,
        progress: Progress,
    ) -> int:
        images, held_out = self._training_images()
        return train(
            classifier,
            images,
            held_out=held_out,
            objective=self._objective(attacked, generator),
            settings=settings,
            generator=generator,
            progress=progress,
        )

    def _objective(self, attacked: bool, generator: torch.Generator) -> Objective:
        return Objective(attack=configured(self.settings.adversary, generator) if attacked else None)

    def _training_images(self) -> tuple[LabelledImages, LabelledImages]:
        """Return the images to train on and those to choose by, the same of every seed."""
        images = self.settings.dataset.load("train")
        order = torch.randperm(len(images), generator=generator_for(0, "holdout"))
        held_out = self._held_out(len(images))
        return images.take(order[held_out:]), images.take(order[:held_out])

    def _held_out(self, images: int) -> int:
        return max(1, round(float(self.settings.holdout) * images))

    def _start(self, model: str, training: str, *, seed: int) -> Classifier:
        """Return a model before any training of ours: fresh from the seed, or with the weights given."""
        weights = self.settings.given(model, training) or self.settings.initial(model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "initialise"))
            classifier = self._build(model, weights.normalisation if weights is not None else None)
        if weights is not None:
            try:
                load_weights(classifier, weights.file)
            except InputError as error:
                raise InputError(f"weights.{model}: {error}") from error
        return classifier

    def _restore(self, model: str, arrays: Arrays) -> Classifier:
        classifier = self._build(model)
        # Copies: the arrays may be read-only views of memory that other processes share.
        classifier.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        return self._placed(classifier).eval()

    def _build(self, model: str, normalisation: str | None = None) -> Classifier:
        dataset = self.settings.dataset
        network = networks.build(model, classes=len(dataset.classes), image_size=dataset.image_size)
        return Classifier(
            network, NORMALISATIONS[normalisation or self.settings.normalisation], classes=dataset.classes
        )

    def _placed(self, classifier: Classifier) -> Classifier:
        return classifier.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
