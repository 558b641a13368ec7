"""What a sweep still has to compute: the difference between its grid and its storage."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sweeps.errors import SpecError, StorageError
from sweeps.planning import kept_rows
from sweeps.planning.code_changes import CodeChanges, compare
from sweeps.planning.kept_rows import KeptRows
from sweeps.planning.keys import RowKey
from sweeps.planning.rules import Verdict, columns, judge
from sweeps.planning.trials import Row, Trial, trials
from sweeps.spec import Engine, Spec
from sweeps.spec.axes.merging import Merged
from sweeps.spec.axes.varied import VariedStudy
from sweeps.spec.differences import differences
from sweeps.spec.loading import mapping_of
from sweeps.storage import Store
from sweeps.storage.rows import row_values
from sweeps.study import Cell

__all__ = ["Plan", "Row", "State", "Trial", "make", "trials"]

State = Literal["finished", "missing", "failed", "changed", "skipped"]
"""Where a row of the grid stands; `changed`: the storage has its cell, computed from other inputs; `skipped`: a rule of
the spec leaves it out."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`todo` holds, per trial with anything missing, just the rows to compute now.

    `changed` are the rows in the storage whose cell is in the grid but was computed from other inputs, and `changes`
    says which. While there are any, nothing is computed. `code` are the results of other code than today's, and `kept`
    the rows that are there of a grid with fields among its axes. Rules leave `skipped` out, each key with the rule in
    words, and have `waiting` wait until others are finished; see `rules`.
    """

    trials: list[Trial]
    todo: list[Trial]
    finished: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    changes: str = ""
    checkpoints: set[str] = field(default_factory=set)
    code: CodeChanges = field(default_factory=CodeChanges)
    kept: KeptRows = field(default_factory=KeptRows)
    skipped: Mapping[str, str] = field(default_factory=dict)
    waiting: frozenset[str] = frozenset()

    @property
    def is_complete(self) -> bool:
        """Whether all rows are there that rules do not leave out."""
        return len(self.finished) + len(self.skipped) == self.rows

    @property
    def rows(self) -> int:
        """All rows of the grid, baselines included."""
        return sum(len(trial.rows) for trial in self.trials)

    @property
    def missing(self) -> int:
        """Rows to compute now."""
        return sum(len(trial.rows) for trial in self.todo)

    def cells_of(self, keys: Collection[str]) -> dict[str, Cell]:
        """Return the cells of rows, as they are published, by key."""
        return {str(row.key): row.cell for trial in self.trials for row in trial.rows if str(row.key) in keys}

    @property
    def merged(self) -> tuple[Merged, ...]:
        """The cells of rows to which a field does not matter."""
        return tuple(Merged(row.cell, row.alike) for trial in self.trials for row in trial.rows if row.alike)

    def checkpoints_to_train(self) -> dict[str, str]:
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
            if str(key) in self.skipped:
                return "skipped"
            return "failed" if str(key) in self.failed else "missing"

        return {row.key: state(row.key) for trial in self.trials for row in trial.rows}

    def without(self, tried: Collection[str]) -> Plan:
        """Return the plan with nothing to compute of these rows."""
        left = (
            replace(trial, rows=tuple(row for row in trial.rows if str(row.key) not in tried)) for trial in self.todo
        )
        return replace(self, todo=[trial for trial in left if trial.rows])

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


def make(spec: Spec, store: Store, *, retry_failed: bool = False, recompute: Collection[str] = ()) -> Plan:
    """Compare a spec's grid with the storage.

    Args:
        retry_failed: also compute rows that failed before.
        recompute: labels of code; results of other code than today's under one of them count as missing.

    Raises:
        SpecError: no result of this grid is made by code of one of the labels.
        StorageError: the storage cannot be read.
    """
    everything = trials(spec)
    _check_axes(spec, store)
    published = store.row_keys(spec.name)
    wanted = {str(row.key) for trial in everything for row in trial.rows}
    cells = {row.key.cell for trial in everything for row in trial.rows}
    there = published & wanted
    checkpoints = store.checkpoints()
    code = compare(spec.study, everything, store, spec.name, rows=there, checkpoints=checkpoints, again=recompute)
    finished = there - code.rows_again
    failed = (store.failure_keys(spec.name) & wanted) - finished
    kept = kept_rows.look(spec, store, [row for trial in everything for row in trial.rows], published)
    changed = {key for key in published - there if key.split("-")[0] in cells}
    if isinstance(spec.study, VariedStudy):
        # A cell by the study's own axes may have a row for each value of a field.
        changed = {*kept.changed}
    verdict = _judged(spec, store, everything, finished, () if retry_failed else failed)
    not_now = finished | verdict.skipped.keys() | verdict.waiting | (set() if retry_failed else failed)
    todo = []
    for trial in everything:
        rows = tuple(row for row in trial.rows if str(row.key) not in not_now)
        if rows:
            todo.append(replace(trial, rows=rows))
    return Plan(
        trials=everything,
        todo=todo,
        finished=finished,
        failed=failed - verdict.skipped.keys(),
        changed=changed,
        changes=_changes(spec, store) if changed else "",
        checkpoints=checkpoints - code.checkpoints_again,
        code=code,
        kept=kept,
        skipped={str(key): why for key, why in verdict.skipped.items()},
        waiting=frozenset(map(str, verdict.waiting)),
    )


def _judged(
    spec: Spec, store: Store, everything: Sequence[Trial], finished: Collection[str], failed: Collection[str]
) -> Verdict:
    """Return what the spec's rules say of its rows."""
    looked_at = columns(spec)
    if not looked_at:
        return Verdict()
    there = row_values(store, spec.name, looked_at) if finished else {}
    values: dict[Hashable, Mapping[str, Any]] = {key: there[key] for key in finished if key in there}
    cells: dict[Hashable, Cell] = {str(row.key): row.cell for trial in everything for row in trial.rows}
    return judge(spec, cells, values, failed)


def _check_axes(spec: Spec, store: Store) -> None:
    """Refuse to add to rows of other axes, which no table could hold beside those of this study."""
    found, expected = store.axes_of_rows(spec.name), [axis.name for axis in spec.study.axes]
    own = [axis.name for axis in spec.study.axes if not axis.optional]
    if found is not None and (found[: len(own)] != own or not set(found) <= set(expected)):
        raise StorageError(
            f"{store.describe(spec.name)}: found rows whose axes are {', '.join(found)}, written by another version of "
            f"the study, expected {', '.join(expected)}; this version reads them (`sweeps results`) but does not add "
            "to them: give this sweep another name (--set name=...)"
        )


def _changes(spec: Spec, store: Store) -> str:
    """Return which fields of a spec differ from those it had when it was stored, of those that results depend on."""
    try:
        before, after = store.read_spec(spec.name) or "", spec.to_yaml()
        mapping_of(before, store.describe(f"{spec.name}/spec.yaml"))
    except SpecError as error:
        return f"it cannot be told which: {error}"
    only_the_engines = Engine.model_fields.keys() - {"study"}
    # What a field is beside its axis, no row of the grid knows.
    axes = tuple(f"{axis.name}." for axis in spec.study.axes if axis.optional)
    changes = [
        f"{field} was {was!r}, is {now!r}"
        for field, (was, now) in differences([before, after]).items()
        if field.split(".")[0] not in only_the_engines and not f"{field}.".startswith(axes)
    ]
    return ", ".join(changes) or "the data or a stage version changed"
