"""The classification study: how pruning changes what it takes to fool classifiers, robust ones and others."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch

from robustprune import attacks
from robustprune.classification import networks
from robustprune.classification.classifier import NORMALISATIONS, Classifier
from robustprune.classification.data import DATASETS
from robustprune.classification.losses import LOSSES
from robustprune.classification.measure import evaluation
from robustprune.classification.measure.cost import measure_cost
from robustprune.classification.measure.evaluation import PERTURBATIONS
from robustprune.classification.networks.by_name import NETWORKS
from robustprune.classification.task import CPU, ClassificationTask
from robustprune.classification.weights.fitting import Loaded
from robustprune.core import timing
from robustprune.core.arrays import Arrays, to_arrays
from robustprune.core.devices import in_full_precision
from robustprune.core.progress import NOWHERE, Progress
from robustprune.core.randomness import generator_for
from robustprune.methods import method_tables
from robustprune.plugins import identities
from robustprune.structures import STRUCTURES
from robustprune.structures.removal import channel_counts
from robustprune.studies.caveats import seeds_vary, short_retraining, unlike_methods
from robustprune.studies.classification import checks
from robustprune.studies.classification.columns import COLUMNS, HARD, HARD_PRUNED, MEANINGS
from robustprune.studies.classification.facts import classification_facts, data_tables
from robustprune.studies.classification.kept import KeptClassifiers
from robustprune.studies.classification.settings import (
    FROM_SCRATCH,
    TRAININGS,
    ClassificationSettings,
    network_inputs,
    pretrain_inputs,
    retrained_under_attack,
    row_inputs,
    score_inputs,
)
from robustprune.studies.classification.work import stage_work
from robustprune.studies.cpu_time import has_gpu
from robustprune.studies.drafts.classification import FOLDERS
from robustprune.studies.on_device import on_device
from robustprune.studies.pruning.axes import INITIALIZER, RATIO, SCOPE, SEED, STRUCTURE, structure_entry
from robustprune.studies.pruning.ratios import ratio_inputs
from robustprune.studies.pruning.retraining import measurable
from robustprune.studies.pruning.seen import seen_columns, trained
from robustprune.studies.pruning.under_attack import objective_under
from robustprune.task import Task
from robustprune.training import Objective
from sweeps.study import NONE, Axis, Cell, DataTable, Stage, TradeOff, Workload

MODEL = Axis("model", str, meaning="the network, by name; `python -m robustprune methods` lists them")
TRAINING = Axis("training", str, choices=TRAININGS, meaning="whether it was trained on clean or on attacked images")

PRETRAIN_VERSION, COUPLED_SCORES_VERSION, ROW_VERSION, MASKED_FILTERS_VERSION = 2, 2, 2, 4
"""Raised when the same settings give other checkpoints, scores of whole channels by hydra, rows, or rows of masked
filters; CHANGELOG.md says how.
"""

META = torch.device("meta")

_ATTACKED = ("adversary", "objective", "grad_align", "free", "overfitting")
_DATA = ("dataset", "normalisation", "weights", "holdout", "loss", "threads", *_ATTACKED, "seed_draws")


class ClassificationStudy(KeptClassifiers):
    """Classifiers, adversarially trained or not, that were pruned, and the distances at which they are fooled."""

    Settings: ClassVar = ClassificationSettings
    settings: ClassificationSettings
    axes: ClassVar = (MODEL, TRAINING, STRUCTURE, INITIALIZER, SCOPE, SEED, RATIO)
    stages: ClassVar = ("pretrain", "score", "evaluate_row")
    pruned: ClassVar = "channels or weights"
    panel_axis: ClassVar = "training"
    columns: ClassVar = COLUMNS
    tables: ClassVar = {"perturbations": PERTURBATIONS, **method_tables()}
    metrics: ClassVar = {
        "median_l2": "median L2 distance",
        "median_linf": "median L∞ distance",
        "median_l1": "median L1 distance",
        "median_l0": "median L0 distance (values changed)",
        "accuracy_clean": "accuracy, best epoch",
        "accuracy_adv": "accuracy under attack",
        "accuracy_clean_hard": "accuracy, hard-pruned",
        "accuracy_adv_hard": "accuracy under attack, hard-pruned",
        "params_kept": "parameters",
        "macs": "multiply–accumulates per image",
        "speedup": "speed-up over the unpruned classifier (×)",
    }
    earlier: ClassVar = {"accuracy_adv": "accuracy_adv_hard", "accuracy_clean": "accuracy_clean_hard"}
    beside: ClassVar = {"accuracy_adv": "accuracy_clean"}
    baseline_name: ClassVar = "before pruning and retraining"
    meanings: ClassVar = MEANINGS
    doubts: ClassVar = {**timing.DOUBTS, **evaluation.DOUBTS}
    trade_off: ClassVar = TradeOff(
        title="Robustness against time",
        explanation=(
            "Time is told as a speed-up: how many images a pruned classifier processes in the time that the unpruned "
            "one needs for one. The two took turns in one process."
        ),
        against="speedup",
        metric="accuracy_adv",
    )

    drafts: ClassVar = {"folders": FOLDERS}

    def __init__(self, settings: ClassificationSettings) -> None:
        """Take validated settings; reads no data."""
        super().__init__(settings)
        self._declared: dict[tuple[object, ...], dict[str, Any]] = {}

    # What the engine asks before anything runs

    def check(self, cells: Sequence[Cell]) -> list[str]:
        """Read the data and every file of weights; return what plug-ins were left out, and how good the weights are.

        Raises:
            InputError: something in them is wrong, a model does not exist or take such images, a method does not fit,
                or a package is missing.
        """
        remarks = self.check_methods(cells, LOSSES, DATASETS, NETWORKS)
        measuring, classes = self.settings.evaluation, len(self.settings.dataset.classes)
        for attack in (measuring.attack, *measuring.distances):
            attacks.check(attack, classes=classes)
        first = cells[0]
        checks.check_objective(self.settings, cells, self._task(str(first["model"]), str(first["training"]), CPU))
        for model in dict.fromkeys(str(cell["model"]) for cell in cells):
            networks.check_image_size(model, self.settings.dataset.image_size)
        remarks += checks.check_images(self.settings)
        remarks += checks.check_channels(self.settings, cells)
        remarks += checks.check_layers(self.settings, cells, functools.partial(self._task, device=META))
        remarks += checks.check_time(self.settings, cells, on_cpu=not has_gpu())
        return remarks + checks.check_weights(self.settings, cells, functools.partial(self._task, device=CPU))

    def data(self, cells: Sequence[Cell]) -> list[DataTable]:
        """Return how many images there are of each class."""
        return data_tables(self.settings)

    def replication(self, cells: Sequence[Cell]) -> str | None:
        """Return what seeds vary: of models whose weights are given, their training is no part of that."""
        if len({cell["seed"] for cell in cells}) < 2:
            return None
        draws = self.settings.seed_draws
        given, trained = self._by_origin(cells)
        retraining, said = {"retraining": self.settings.retrain.epochs}, []
        if given:
            said.append((given, seeds_vary(retraining, ["the weights that are given"], draws=draws)))
        if trained:
            pretraining = {"training": self.settings.pretrain.epochs}
            said.append((trained, seeds_vary(pretraining | retraining, [], draws=draws)))
        return "; ".join(f"{', '.join(names)}: {sentence}" for names, sentence in said) if len(said) > 1 else said[0][1]

    def facts(self, cells: Sequence[Cell]) -> dict[str, str]:
        """Return the data, the networks, the attacks and the trainings."""
        return classification_facts(self.settings, *self._by_origin(cells))

    def remarks(self, cells: Sequence[Cell]) -> list[str]:
        """Return a sentence where models that are trained here are retrained for short, or methods are not alike."""
        trained_here = [c for c in cells if self.settings.given(str(c["model"]), str(c["training"])) is None]
        again, before = ("retrain", self.settings.retrain.epochs), ("pretrain", self.settings.pretrain.epochs)
        short = short_retraining(trained_here, again=again, before=before)
        return short + unlike_methods(cells, self.method_settings)

    def baselines(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return a cell for each model as it is before it is pruned and retrained."""
        kinds = dict.fromkeys((cell["model"], cell["training"], cell["seed"]) for cell in cells)
        unpruned: Cell = {"structure": NONE, "initializer": NONE, "scope": NONE}
        return [
            {"model": model, "training": training, **unpruned, "seed": seed, "ratio": 0.0}
            for model, training, seed in kinds
        ]

    def stage(self, name: str, cell: Cell) -> Stage | None:
        """Declare what a stage of a cell depends on; None where the cell does without."""
        model, training = str(cell["model"]), str(cell["training"])
        if name == "pretrain":
            if self.is_from_scratch(cell):
                return None
            given = self.settings.given(model, training) is not None
            # Weights that are given are the same for every seed.
            axes = ("model", "training", *(() if given else ("seed",)))
            inputs = self._once(pretrain_inputs, model=model, training=training) | _network_identity(model)
            version = PRETRAIN_VERSION if training == "adversarial" and not given else 1
            return Stage(axes, inputs, version=version, fields=(*_DATA, "pretrain"))
        if name == "evaluate_row":
            pruned = not self.is_baseline(cell)
            inputs = self._once(row_inputs, training=training, pruned=pruned)
            inputs = inputs | ratio_inputs(self.settings, cell)
            inputs = inputs | (identities(structure_entry(str(cell["structure"]))) if pruned else {})
            fields = (*_DATA, "ratios", "retrain", "renewal", "evaluation", "hard_pruned", "keep_models")
            axes = tuple(axis.name for axis in self.axes)
            version = MASKED_FILTERS_VERSION if self.masks_filters(cell) else ROW_VERSION
            return Stage(axes, inputs, version=version, fields=fields, reads=("pretrain", "score"))
        assert name == "score"
        gated = cell["initializer"] == "hydra" and self.has_scores(cell) and STRUCTURES[str(cell["structure"])].coupled
        return self.scored(
            cell,
            lambda initializer: (
                self._once(score_inputs, initializer=initializer, training=training)
                | (self._network(model, training) if self.is_from_scratch(cell) else {})
            ),
            checkpoint=("model", "training", "seed"),
            fields=_DATA,
            version=COUPLED_SCORES_VERSION if gated else 1,
        )

    def code(self, name: str, cell: Cell) -> Mapping[str, Sequence[str]]:
        """Return the modules that make a stage's result."""
        own = {"classification": [type(self).__module__, ClassificationTask.__module__]}
        attacked = cell["training"] == "adversarial"
        attack = self.settings.adversary.name if attacked else None
        if name == "pretrain":
            return own | self.method_code(cell | {"ratio": 0.0}, structure=False, attack=attack)
        return own | self.method_code(cell, structure=True, attack=attack)

    def workloads(self, name: str, cell: Cell) -> list[Workload]:
        """Return the parts of a stage's work."""
        return [Workload(*part) for part in stage_work(self.settings, name, cell)]

    def _network(self, model: str, training: str) -> dict[str, Any]:
        """Return what determines a model before any training of ours."""
        return self._once(network_inputs, model=model, training=training) | _network_identity(model)

    def _once(self, inputs: Callable[..., dict[str, Any]], **of: Any) -> dict[str, Any]:
        """Return what `inputs` says of the settings, which may mean to read large files."""
        key = (inputs.__name__, *of.items())
        if key not in self._declared:
            self._declared[key] = inputs(self.settings, **of)
        return self._declared[key]

    # The stages. Each goes on from what its `progress` has, if anything

    @on_device
    def pretrain(self, cell: Cell, progress: Progress = NOWHERE) -> Arrays:
        """Train from scratch, adversarially or not, or take the weights given."""
        model, training = str(cell["model"]), str(cell["training"])
        if self.settings.given(model, training) is not None:
            return to_arrays(self._task(model, training, self.device()).fresh(0).state_dict())
        task = self.task(cell)
        classifier = task.fresh(self.seed_of(cell, "training"))
        settings, generator = self.settings.pretrain, generator_for(self.seed_of(cell, "training"), "pretrain")
        objective = self.objective(task, generator, attacked=self.is_attacked(cell))
        return trained(
            classifier,
            objective=objective,
            settings=settings,
            generator=generator,
            chosen_by=task.chosen_by(objective.attack, settings.batch_size),
            watch=self.watch(cell, objective),
            progress=progress,
        )

    @on_device
    def evaluate_row(
        self, cell: Cell, checkpoint: Arrays | None, found: Arrays | None, progress: Progress = NOWHERE
    ) -> dict[str, Any]:
        """Prune, retrain, and measure on the test images, before retraining too."""
        settings = self.settings
        task = replace(self.task(cell), evaluation=settings.evaluation)
        classifier = self.started(task, cell, checkpoint)
        start = time.perf_counter()
        pruned, best_epoch, renew_s, seen = self.prune(classifier, cell, found, task=task), 0, None, None
        channels = pruned.channels or channel_counts(
            [torch.ones(group.decisions, dtype=torch.bool) for group in task.coupled_groups(classifier)]
        )
        task.placed(classifier)  # what is left of a weight has a memory format of its own
        hard, measuring_s = dict[str, Any].fromkeys(HARD_PRUNED), 0.0
        if not self.is_baseline(cell):
            generator = generator_for(self.seed_of(cell, "training"), "retrain")
            attacked = retrained_under_attack(settings, str(cell["training"]))
            objective = self.objective(task, generator, attacked=attacked)
            began = time.perf_counter()
            hard = self.hard_pruned(
                classifier,
                cell,
                pruned,
                objective=objective,
                renewal=settings.renewal,
                measure=functools.partial(task.accuracies, seed=int(cell["seed"])),
                columns=HARD,
            )
            measuring_s = time.perf_counter() - began
            best_epoch, renew_s, seen = self.retrain(
                classifier,
                cell,
                pruned,
                objective=objective,
                settings=settings.retrain,
                renewal=settings.renewal,
                generator=generator,
                chosen_by=task.chosen_by(objective.attack, settings.retrain.batch_size),
                progress=progress,
            )
        retrained = time.perf_counter()
        with in_full_precision():
            left = measurable(classifier, pruned, task)
            measured = task.perturbations(left, seed=int(cell["seed"]), progress=progress)
        return {
            **measured.columns,
            **hard,
            **self.said(found),
            **channels._asdict(),
            **measure_cost(
                classifier,
                pruned.masks,
                gone=pruned.gone,
                dense=self.started(task, cell, checkpoint),
                image_size=settings.dataset.image_size,
                timing=settings.evaluation,
            ),
            "best_epoch": best_epoch,
            **seen_columns(checkpoint, seen),
            "retrain_s": retrained - start - measuring_s,
            "renew_s": renew_s,
            "evaluate_s": time.perf_counter() - retrained - measured.attack_s + measuring_s,
            "threads": torch.get_num_threads(),
            "torch_version": str(torch.__version__),
            "perturbations": measured.perturbations,
            **self.kept(classifier, cell),
        }

    # Parts

    def task(self, cell: Mapping[str, Any]) -> ClassificationTask:
        """Return classification by the cell's model."""
        task = self._task(str(cell["model"]), str(cell["training"]), self.device())
        return replace(task, data_seed=self.data_seed(cell))

    @property
    def training_attack(self) -> Any:
        """Settings of the attack in training."""
        return self.settings.adversary

    def is_attacked(self, cell: Mapping[str, Any]) -> bool:
        """Say whether the cell's model is trained under attack."""
        return bool(cell["training"] == "adversarial")

    def objective(self, task: Task, generator: torch.Generator, *, attacked: bool) -> Objective:
        """Return the loss of clean images, or the objective under attack."""
        if not attacked:
            return Objective(task=task)
        return objective_under(self.training_attack, settings=self.settings, task=task, generator=generator)

    def _task(self, model: str, training: str, device: torch.device) -> ClassificationTask:
        settings, dataset = self.settings, self.settings.dataset
        weights = settings.given(model, training) or settings.initial(model)
        own = weights.normalisation if weights is not None else None
        chosen = own or settings.normalisation
        normalisation = NORMALISATIONS[FROM_SCRATCH] if chosen is None else chosen.numbers

        def build() -> Classifier:
            network = networks.build(model, classes=len(dataset.classes), image_size=dataset.image_size)
            return Classifier(network, normalisation, classes=dataset.classes)

        def fill(classifier: Classifier) -> Loaded:
            assert weights is not None
            return checks.filled(classifier, weights, f"weights.{model}", study=settings.normalisation)

        return ClassificationTask(
            build=build,
            load=dataset.load,
            holdout=settings.holdout,
            image_size=dataset.image_size,
            device=device,
            weights=None if weights is None else fill,
            loss_name=settings.loss,
        )

    def _by_origin(self, cells: Sequence[Cell]) -> tuple[list[str], list[str]]:
        """Return in words the models whose weights are given, and those that are trained here."""
        models = dict.fromkeys((str(cell["model"]), str(cell["training"])) for cell in cells)
        parts: tuple[list[str], list[str]] = [], []
        for model, training in models:
            parts[self.settings.given(model, training) is None].append(f"{model} ({training})")
        return parts


def _network_identity(model: str) -> dict[str, Any]:
    return identities((NETWORKS, model)) if model in NETWORKS else {}
