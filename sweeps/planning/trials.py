"""The rows of a grid and its baselines, in trials: what each goes through, and under which keys."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from sweeps.planning.keys import Keys, RowKey, StageKey
from sweeps.spec import Spec
from sweeps.study import Cell


class Row(NamedTuple):
    """A row to be: its cell, the name it is published under, the stages before the last that it goes through, and of
    the last one the keys of the results that it reads and the settings it may look at, as in `StageKey`.
    """

    cell: Cell
    key: RowKey
    stages: tuple[StageKey, ...]
    reads: tuple[str | None, ...] = ()
    fields: tuple[str, ...] | None = None

    @property
    def checkpoint(self) -> StageKey | None:
        """The first shared result that the last stage reads, if it reads any."""
        shared = {stage.key: stage for stage in self.stages if stage.shared}
        return next((shared[key] for key in self.reads if key in shared), None)

    @property
    def own(self) -> tuple[StageKey, ...]:
        """The stages that are computed with the row, in order."""
        return tuple(stage for stage in self.stages if not stage.shared)

    @property
    def read(self) -> set[str]:
        """The keys of all results that are read where the row is computed."""
        return {key for reads in (self.reads, *(stage.reads for stage in self.own)) for key in reads if key is not None}


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

    def cell_of(self, stage: StageKey) -> Cell:
        """Return a cell that goes through a stage."""
        return next(row.cell for row in self.rows if stage in row.stages)

    def missing(self, published: Collection[str]) -> dict[str, str]:
        """Return the shared results to compute for these rows, key to stage name.

        These are what rows read, and what comes before that, back to the last result that is published.
        """
        missing: dict[str, str] = {}
        for row in self.rows:
            needed: set[str | None] = set(row.read)
            for stage in reversed(row.stages):
                if stage.key in needed and stage.shared and stage.key not in published:
                    missing[stage.key] = stage.name
                    needed |= set(stage.reads)
        return missing


def trials(spec: Spec) -> list[Trial]:
    """Return the trials of a spec's grid and its baselines, in grid order, baselines first."""
    keys = Keys(spec.study)
    row_axis = spec.study.row_axis
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for cell in spec.study.baselines(spec.cells) + spec.cells:
        group = tuple(value for name, value in cell.items() if name != row_axis)
        stages = keys.stages(cell)
        last = keys.last(cell, stages)
        groups.setdefault(group, []).append(Row(cell, last.key, tuple(stages), last.reads, last.fields))
    return [
        Trial(number=number, label=label_of(rows[0].cell, row_axis), cell=rows[0].cell, rows=tuple(rows))
        for number, rows in enumerate(groups.values())
    ]


def label_of(cell: Cell, row_axis: str) -> str:
    """Return what the trial of a cell is called: the values that its rows have in common."""
    return " ".join(str(value) for name, value in cell.items() if name != row_axis)
