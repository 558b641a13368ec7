"""What a sweep still has to compute: the difference between its grid and its storage."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from sweeps.errors import StorageError
from sweeps.planning.keys import Keys, RowKey, StageKey
from sweeps.spec import Engine, Spec
from sweeps.spec.differences import differences
from sweeps.storage import Store
from sweeps.study import Cell, StageName

State = Literal["finished", "missing", "failed", "changed"]
"""Where a row of the grid stands; `changed`: the storage has its cell, computed from other inputs."""


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

    def missing(self, published: Collection[str]) -> dict[str, StageName]:
        """Return the shared results to compute for these rows, key to stage name.

        These are what rows read, and what comes before that, back to the last result that is published.
        """
        missing: dict[str, StageName] = {}
        for row in self.rows:
            needed = {row.checkpoint, row.scores}
            for position, stage in reversed(list(enumerate(row.stages))):
                if stage in needed and stage.shared and stage.key not in published:
                    missing[stage.key] = stage.name
                    needed |= set(row.stages[:position][-1:])
        return missing


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`todo` holds, per trial with anything missing, just the rows to compute now.

    `changed` are the rows in the storage whose cell is in the grid but was computed from other inputs, and `changes`
    says which. While there are any, nothing is computed.
    """

    trials: list[Trial]
    todo: list[Trial]
    finished: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    changes: str = ""
    checkpoints: set[str] = field(default_factory=set)

    @property
    def rows(self) -> int:
        """All rows of the grid, baselines included."""
        return sum(len(trial.rows) for trial in self.trials)

    @property
    def missing(self) -> int:
        """Rows to compute now."""
        return sum(len(trial.rows) for trial in self.todo)

    def checkpoints_to_train(self) -> dict[str, StageName]:
        """Return the shared results that the rows to compute still need, key to stage name."""
        return {key: name for trial in self.todo for key, name in trial.missing(self.checkpoints).items()}

    def states(self) -> dict[RowKey, State]:
        """Return where each row of the grid stands."""
        changed = {key.split("-")[0] for key in self.changed}

        def state(key: RowKey) -> State:
            if str(key) in self.finished:
                return "finished"
            if key.cell in changed:
                return "changed"
            return "failed" if str(key) in self.failed else "missing"

        return {row.key: state(row.key) for trial in self.trials for row in trial.rows}

    def conflict(self, place: str) -> str:
        """Return why nothing can be computed at `place`, the sweep's folder; no text where it can."""
        if not self.changed:
            return ""
        return (
            f"{place} holds {len(self.changed)} rows of this grid computed from other inputs ({self.changes}); "
            "give this sweep another name (--set name=...) or remove that folder (shared checkpoints stay)"
        )

    def check_unchanged(self, place: str) -> None:
        """Refuse to mix rows computed from different inputs.

        Raises:
            StorageError: the rows at `place` were computed from other inputs; the message names those that changed.
        """
        if self.changed:
            raise StorageError(self.conflict(place))


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
        StorageError: the storage cannot be read.
    """
    everything = trials(spec)
    published = store.row_keys(spec.name)
    wanted = {row.key.cell: str(row.key) for trial in everything for row in trial.rows}
    finished = published & set(wanted.values())
    failed = (store.failure_keys(spec.name) & set(wanted.values())) - finished
    changed = {key for key in published - finished if key.split("-")[0] in wanted}
    skipped = finished if retry_failed else finished | failed
    todo = []
    for trial in everything:
        rows = tuple(row for row in trial.rows if str(row.key) not in skipped)
        if rows:
            todo.append(replace(trial, rows=rows))
    return Plan(
        trials=everything,
        todo=todo,
        finished=finished,
        failed=failed,
        changed=changed,
        changes=_changes(store.read_spec(spec.name) or "", spec.to_yaml()) if changed else "",
        checkpoints=store.checkpoints(),
    )


def _changes(before: str, after: str) -> str:
    """Return which fields of a spec differ, and how, of those that results depend on."""
    only_the_engines = Engine.model_fields.keys() - {"study"}
    changes = [
        f"{field} was {was!r}, is {now!r}"
        for field, (was, now) in differences([before, after]).items()
        if field.split(".")[0] not in only_the_engines
    ]
    return ", ".join(changes) or "the data or a stage version changed"
