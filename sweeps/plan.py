"""What a sweep still has to compute: the difference between its grid and its storage."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import yaml

from sweeps.errors import StorageError
from sweeps.keys import Keys, RowKey, StageKey
from sweeps.spec import Spec
from sweeps.storage import Store
from sweeps.study import Cell


class Row(NamedTuple):
    """A row to be: its cell, the name it is published under, and the stages it goes through."""

    cell: Cell
    key: RowKey
    stages: tuple[StageKey, ...]

    @property
    def checkpoint(self) -> StageKey:
        """The stage whose result is pruned and measured."""
        return [stage for stage in self.stages if stage.name != "score"][-1]

    @property
    def scores(self) -> StageKey | None:
        """The stage that scores the checkpoint, if the row needs scores."""
        return next((stage for stage in self.stages if stage.name == "score"), None)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The rows that differ in the row axis alone, and so share every published stage."""

    number: int
    label: str
    cell: Cell
    rows: tuple[Row, ...]

    @property
    def shared(self) -> tuple[StageKey, ...]:
        """The stages whose results are published, in order. A row may do without one that others need."""
        return tuple(dict.fromkeys(stage for row in self.rows for stage in row.stages if stage.shared))

    def missing(self, published: Collection[str]) -> dict[str, str]:
        """Return the shared results to compute for these rows, key to stage name.

        These are what rows read, and what comes before that, back to the last result that is published.
        """
        missing: dict[str, str] = {}
        for row in self.rows:
            needed = {row.checkpoint, row.scores}
            for position, stage in reversed(list(enumerate(row.stages))):
                if stage in needed and stage.shared and stage.key not in published:
                    missing[stage.key] = stage.name
                    needed |= set(row.stages[:position][-1:])
        return missing


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`todo` holds, per trial with anything missing, just the rows to compute now."""

    trials: list[Trial]
    todo: list[Trial]
    finished: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    checkpoints: set[str] = field(default_factory=set)

    @property
    def rows(self) -> int:
        """All rows of the grid, baselines included."""
        return sum(len(trial.rows) for trial in self.trials)

    @property
    def missing(self) -> int:
        """Rows to compute now."""
        return sum(len(trial.rows) for trial in self.todo)

    def checkpoints_to_train(self) -> dict[str, str]:
        """Return the shared results that the rows to compute still need, key to stage name."""
        return {key: name for trial in self.todo for key, name in trial.missing(self.checkpoints).items()}


def trials(spec: Spec) -> list[Trial]:
    """Return the trials of a spec's grid and its baselines, in grid order, baselines first."""
    keys = Keys(spec.study)
    row_axis = spec.study.row_axis
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for cell in spec.study.baselines(spec.cells) + spec.cells:
        group = tuple(value for name, value in cell.items() if name != row_axis)
        stages = keys.stages(cell)
        groups.setdefault(group, []).append(Row(cell, keys.row(cell, stages), tuple(stages)))
    return [
        Trial(number=number, label=" ".join(map(str, group)), cell=rows[0].cell, rows=tuple(rows))
        for number, (group, rows) in enumerate(groups.items())
    ]


def make(spec: Spec, store: Store, *, retry_failed: bool = False) -> Plan:
    """Compare a spec's grid with the storage.

    Raises:
        StorageError: the sweep's rows were computed from other settings; the message names those that changed.
    """
    everything = trials(spec)
    published = store.row_keys(spec.name)
    wanted = {row.key.cell: str(row.key) for trial in everything for row in trial.rows}
    stale = [key for key in published if wanted.get(key.split("-")[0], key) != key]
    if stale:
        changed = _changes(store.read_spec(spec.name) or "", spec.to_yaml())
        raise StorageError(
            f"{store.describe(spec.name)} holds {len(stale)} rows of this grid computed from other inputs "
            f"({changed or 'the data or a stage version changed'}); give this sweep another name "
            f"(--set name=...) or remove that folder (shared checkpoints stay)"
        )
    finished = published & set(wanted.values())
    failed = (store.failure_keys(spec.name) & set(wanted.values())) - finished
    skipped = finished if retry_failed else finished | failed
    todo = []
    for trial in everything:
        rows = tuple(row for row in trial.rows if str(row.key) not in skipped)
        if rows:
            todo.append(replace(trial, rows=rows))
    return Plan(trials=everything, todo=todo, finished=finished, failed=failed, checkpoints=store.checkpoints())


def _changes(before: str, after: str) -> str:
    old, new = _flat(yaml.safe_load(before) or {}), _flat(yaml.safe_load(after))
    engine_only = ("name", "grid", "resources", "description")
    return ", ".join(
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key.split(".")[0] not in engine_only
    )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
