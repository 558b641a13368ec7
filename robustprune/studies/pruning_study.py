"""What every study of pruning shares: the stages that score, prune and train again, for any task."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from robustprune.attacks import ATTACKS
from robustprune.core.arrays import Arrays
from robustprune.core.devices import in_full_precision
from robustprune.core.errors import InputError
from robustprune.core.progress import NOWHERE, Progress
from robustprune.core.randomness import generator_for
from robustprune.methods import (
    INITIALIZERS,
    NoSettings,
    Problem,
    check_scores,
    handed,
    method_columns,
    method_tables,
)
from robustprune.plugins import Registry, identities
from robustprune.structures import STRUCTURES, draw_masks
from robustprune.structures import masks as masking
from robustprune.structures.groups import decided_layers
from robustprune.structures.removal import channel_counts, departing, kept_decisions, remove, unread
from robustprune.studies.on_device import held_device, on_device
from robustprune.studies.pruning.axes import SCOPE, initializer_entry, structure_entry
from robustprune.studies.pruning.courses import multiplier_courses
from robustprune.studies.pruning.fit import check_fit
from robustprune.studies.pruning.hard_pruned import hard
from robustprune.studies.pruning.pruned import Pruned, Retrained
from robustprune.studies.pruning.ratios import check_fixed, layer_ratios, ratio_inputs
from robustprune.studies.pruning.retraining import measurable, retrained
from robustprune.studies.pruning.seen import network_state
from robustprune.studies.pruning.under_attack import watch_of
from robustprune.studies.seed_draws import DRAWN, SeedDraw
from robustprune.task import Task
from robustprune.training import Objective, Renewal, calibration
from robustprune.training.objectives import OBJECTIVES, entry_of
from robustprune.training.overfitting import Watch
from robustprune.training.renewal import renew
from sweeps.study import NONE, Cell, Course, Lines, Stage, Study


class PruningStudy(Study):
    """A checkpoint per seed is scored, pruned to several ratios, trained again and measured."""

    row_axis: ClassVar[str] = "ratio"
    replicate_axis: ClassVar[str] = "seed"

    removes_channels: ClassVar[bool] = True
    """Whether channels can leave the task's networks."""

    # What a study says of itself

    def task(self, cell: Mapping[str, Any]) -> Task:
        """Return the problem that a cell is about, as far as its stage may know of it."""
        raise NotImplementedError

    def is_attacked(self, cell: Mapping[str, Any]) -> bool:
        """Say whether the network of a cell is trained under attack."""
        return True

    def objective(self, task: Task, generator: torch.Generator, *, attacked: bool) -> Objective:
        """Return what training lowers; random starts of its attack are drawn from `generator`."""
        raise NotImplementedError

    @property
    def training_attack(self) -> Any:
        """Settings of the attack in training; None where nothing watches that."""
        return None

    def watch(self, cell: Mapping[str, Any], objective: Objective) -> Watch | None:
        """Return what watches a training of a cell's network for catastrophic overfitting, if anything."""
        return watch_of(self.training_attack, self.settings, objective, seed=self.seed_of(cell, "training"))

    def scope(self, cell: Mapping[str, Any]) -> str:
        """Return what competes for staying, where that is no axis."""
        return str(cell["scope"])

    def is_baseline(self, cell: Mapping[str, Any]) -> bool:
        """Say whether a cell is one of `baselines`: neither scored nor pruned."""
        return bool(cell["initializer"] == NONE)

    # What is checked before anything runs

    def check_methods(self, cells: Sequence[Cell], *others: Registry[Any]) -> list[str]:
        """See that every method can be used and fits the task; return a sentence per plug-in that was left out.

        Args:
            cells: of the grid.
            others: the task's own registries.

        Raises:
            InputError: one does not.
        """
        for initializer in dict.fromkeys(str(cell["initializer"]) for cell in cells):
            INITIALIZERS.lookup(initializer)
        for structure in dict.fromkeys(str(cell["structure"]) for cell in cells):
            if STRUCTURES.lookup(structure).removes and not self.removes_channels:
                raise InputError(
                    f"grid.structure: found {structure!r}, which takes channels out of the network, expected "
                    "'structured' here: it masks the same channels, and rows are timed without them"
                )
        at_work = [cell for cell in cells if self.has_scores(cell)]
        check_fit(at_work, scope=self.scope, settings=self.method_settings)
        check_fixed(at_work, layer_ratios(self.settings), scope=self.scope, axis=SCOPE in self.axes)
        registries: list[Registry[Any]] = [INITIALIZERS, STRUCTURES, ATTACKS, OBJECTIVES, *others]
        return list(dict.fromkeys(remark for registry in registries for remark in registry.remarks()))

    def has_scores(self, cell: Mapping[str, Any]) -> bool:
        """Say whether a cell's weights are scored: an unpruned network does without, unless its method trains it."""
        return not self.is_baseline(cell) and (cell["ratio"] != 0 or self.is_from_scratch(cell))

    def is_from_scratch(self, cell: Mapping[str, Any]) -> bool:
        """Say whether a cell's method trains its network by itself, so that there is no checkpoint before it."""
        method = INITIALIZERS.get(str(cell["initializer"]))
        return method is not None and method.from_scratch

    def masks_filters(self, cell: Mapping[str, Any]) -> bool:
        """Say whether whole filters of a cell's network are pruned and keep their place in it, as zeros."""
        if not self.has_scores(cell):
            return False
        structure = STRUCTURES[str(cell["structure"])]
        return structure.coupled and not structure.removes

    def scored(
        self,
        cell: Cell,
        inputs: Callable[[str], Mapping[str, Any]],
        *,
        checkpoint: Sequence[str],
        fields: Sequence[str],
        version: int = 1,
    ) -> Stage | None:
        """Declare the stage that scores a cell's weights; None where they are not scored.

        Args:
            cell: of the grid, or a baseline.
            inputs: returns, by an initializer's name, what determines its scores besides the checkpoint.
            checkpoint: the axes that scores follow their checkpoint in.
            fields: settings that a scoring may look at, besides its own.
            version: of the stage.
        """
        if not self.has_scores(cell):
            return None
        name, structure = str(cell["initializer"]), str(cell["structure"])
        method = INITIALIZERS[name]
        axes, used = {"initializer", *checkpoint}, [initializer_entry(name)]
        if method.per_structure or method.per_ratio:
            axes, used = axes | {"structure"}, [*used, structure_entry(structure)]
        own, ratios = [f"initializers.{name}"] if method.settings.model_fields else [], dict[str, Any]()
        if method.per_ratio:
            axes, own, ratios = axes | {"scope", "ratio"}, [*own, "ratios"], ratio_inputs(self.settings, cell)
        return Stage(
            tuple(axis.name for axis in self.axes if axis.name in axes),
            {**inputs(name), **ratios, **identities(*used)},
            version=version,
            fields=(*fields, *own),
            # Of a method from scratch there is none: it is handed None.
            reads=("pretrain",),
        )

    def method_code(self, cell: Mapping[str, Any], *, structure: bool, attack: str | None) -> dict[str, list[str]]:
        """Return the modules of a cell's methods by their names; see `sweeps.study.Study.code`."""
        found: dict[str, list[str]] = {}
        if self.has_scores(cell):
            name = str(cell["initializer"])
            found[name] = [INITIALIZERS[name].score.__module__]
            if structure:
                found[str(cell["structure"])] = [STRUCTURES[str(cell["structure"])].masks.__module__]
        if attack is not None:
            found[attack] = [ATTACKS[attack].run.__module__]
            found[self.settings.objective.name] = [entry_of(self.settings.objective).loss.__module__]
        return found

    # Stages

    @on_device
    def score(self, cell: Cell, checkpoint: Arrays | None, progress: Progress = NOWHERE) -> Arrays:
        """Score the weights of the checkpoint, or of a network that the method trains, from it or from scratch."""
        name, task = str(cell["initializer"]), self.task(cell)
        method = INITIALIZERS[name]
        generator = generator_for(self.seed_of(cell, "scores"), "score")
        settings = self.method_settings(name)
        attacked = method.attacked(settings, trained=self.is_attacked(cell))
        problem = Problem(
            task=task,
            objective=self.objective(task, generator, attacked=attacked),
            generator=generator,
            structure=str(cell["structure"]) if method.per_structure or method.per_ratio else None,
            scope=self.scope(cell) if method.per_ratio else "layer",
            ratio=float(cell["ratio"]) if method.per_ratio else None,
            ratios=layer_ratios(self.settings) if method.per_ratio else {},
            comparable=method.comparable,
            progress=progress,
        )
        network = self.started(task, cell, checkpoint)
        outcome = method.outcome(network, problem, settings)
        check_scores(name, outcome.scores, task.prunable_layers(network), some=problem.is_coupled)
        return outcome.to_arrays()

    def started(self, task: Task, cell: Mapping[str, Any], checkpoint: Arrays | None) -> Any:
        """Return the network that a cell's method starts from, in eval mode: a fresh one without a checkpoint."""
        if checkpoint is not None:
            return task.restored(network_state(checkpoint))
        return task.fresh(self.seed_of(cell, "training")).eval()

    def method_settings(self, name: str) -> Any:
        """Return the settings of an initializer."""
        has_any = bool(INITIALIZERS[name].settings.model_fields)
        return getattr(self.settings.initializers, name) if has_any else NoSettings()

    def prune(self, network: nn.Module, cell: Cell, found: Arrays | None, *, task: Task) -> Pruned:
        """Prune a network in place, by what its method found; it stays as it is where there is nothing.

        The network's parameters may come out requiring gradients.
        """
        if found is None:
            return Pruned({}, None)
        outcome = handed(found)
        outcome.fill(network)
        structure = STRUCTURES[str(cell["structure"])]
        groups = task.coupled_groups(network) if structure.coupled else []
        layers = decided_layers(network, groups) if structure.coupled else task.prunable_layers(network)
        masks = {name: torch.tensor(mask) for name, mask in outcome.masks.items()}
        if not masks:
            masks = draw_masks(
                str(cell["structure"]),
                {name: torch.tensor(outcome.scores[name]) for name in layers},
                float(cell["ratio"]),
                groups=groups,
                scope=self.scope(cell),
                comparable=INITIALIZERS[str(cell["initializer"])].comparable,
                ratios=layer_ratios(self.settings),
            )
        kept = kept_decisions(groups, masks)
        if structure.removes:
            remove(groups, kept)
            return Pruned({}, channel_counts(kept))
        departed = departing(network, groups, kept)
        pruned = Pruned(
            {name: mask.to(task.device) for name, mask in masks.items()},
            channel_counts(kept) if kept else None,
            departed,
            unread(network, groups, kept, departed),
        )
        masking.apply(pruned.held, network)
        return pruned

    def retrain(
        self,
        network: nn.Module,
        cell: Cell,
        pruned: Pruned,
        *,
        objective: Objective,
        renewal: Renewal | None,
        **training: Any,
    ) -> Retrained:
        """Train what pruning left of a cell's network, in place; see `studies.pruning.retraining`, also for the rest.

        Args:
            network: pruned; left in eval mode.
            cell: the point of the grid.
            pruned: what pruning left.
            objective: of the training.
            renewal: how statistics of batch norm are renewed; None: never.
            training: see `training.train`.
        """

        def renewed(network: nn.Module) -> float:
            assert renewal is not None
            return self._renew(network, cell, objective, renewal)

        return retrained(
            network,
            pruned,
            objective=objective,
            renewed=None if renewal is None else renewed,
            watch=self.watch(cell, objective),
            **training,
        )

    def hard_pruned(
        self,
        network: nn.Module,
        cell: Cell,
        pruned: Pruned,
        *,
        objective: Objective,
        renewal: Renewal | None,
        measure: Callable[[nn.Module], Mapping[str, Any]],
        columns: Sequence[str],
    ) -> dict[str, Any]:
        """Return what a pruned network reaches before it is trained again, so that methods can be judged that claim to
        do without; None of each where that is not to be measured.

        Its statistics of batch norm are renewed, where they are after training, and no weight is changed.

        Args:
            network: pruned; left as it is.
            cell: the point of the grid.
            pruned: what pruning left.
            objective: of the training to come, under whose attack statistics are taken.
            renewal: how statistics are renewed; None: never.
            measure: returns columns of a row.
            columns: those to keep, under names with `_hard`.
        """
        if not self.settings.hard_pruned:
            return hard(dict.fromkeys(columns), columns)
        network = copy.deepcopy(measurable(network, pruned, objective.task))
        if renewal is not None:
            self._renew(network, cell, objective, renewal)
        with in_full_precision():
            return hard(measure(network.eval()), columns)

    def _renew(self, network: nn.Module, cell: Cell, objective: Objective, renewal: Renewal) -> float:
        """Renew statistics in place, and return the seconds that took."""
        start = time.perf_counter()
        own = generator_for(self.seed_of(cell, "training"), "renew")
        under_attack = self.objective(objective.task, own, attacked=objective.attack is not None)
        renew(network.eval(), objective=under_attack, settings=renewal, generator=own)
        return time.perf_counter() - start

    # Parts

    def said(self, found: Arrays | None) -> dict[str, Any]:
        """Return what a cell's method says of itself in its row, and keeps beside it; None of what others say."""
        own = None if found is None else handed(found)
        return {
            **{
                name: kind(own.columns[name]) if own is not None and name in own.columns else None
                for name, kind in method_columns().items()
            },
            **{name: None if own is None else own.tables.get(name) for name in method_tables()},
        }

    def courses(self, rows: Sequence[Mapping[str, Any]], lines: Callable[[str, str], Lines | None]) -> list[Course]:
        """Return what went on while methods trained with multipliers."""
        axes = [axis.name for axis in self.axes]
        return multiplier_courses(rows, lines, axes=axes, replicate=self.replicate_axis)

    def seed_of(self, cell: Mapping[str, Any], drawn: SeedDraw) -> int:
        """Return the seed of what is drawn for a cell: its own, or one for all where seeds do not draw that."""
        return int(cell["seed"]) if drawn in self._seed_draws() else 0

    def data_seed(self, cell: Mapping[str, Any]) -> int | None:
        """Return the seed of the images that a cell is trained on; None where they are all that there are."""
        return int(cell["seed"]) if "data" in self._seed_draws() else None

    def _seed_draws(self) -> Sequence[SeedDraw]:
        """Return what seeds draw, of settings that may have no field for it."""
        found: Sequence[SeedDraw] = DRAWN
        if "seed_draws" in type(self.settings).model_fields:
            found = self.settings.seed_draws
        return found

    def device(self) -> torch.device:
        """Return where stages compute. Only stages ask: planning changes nothing of the process and opens no GPU."""
        return held_device(threads=self.settings.threads)

    def cpu_pace(self, gpus: int | None) -> float | None:
        """Return what training sustains on this machine's CPU; None where stages would use a GPU."""
        if gpus or (gpus is None and torch.cuda.device_count()):
            return None
        return calibration.cpu_pace(threads=self.settings.threads)
