"""The rows of a grid and its baselines, in trials: what each goes through, and under which keys."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from sweeps.errors import SpecError
from sweeps.planning.keys import Keys, RowKey, StageKey
from sweeps.spec import Spec
from sweeps.spec.axes.merging import merged
from sweeps.spec.axes.values import FieldAxis
from sweeps.spec.axes.varied import VariedStudy, study_at
from sweeps.study import Cell, Study


class Row(NamedTuple):
    """A row to be: its cell, the name it is published under, the stages before the last that it goes through, and of
    the last one the keys of the results that it reads and the settings it may look at, as in `StageKey`.

    `at` is a cell that the study can be asked about: in `cell` the fields in `alike`, which do not matter, are null.
    """

    cell: Cell
    key: RowKey
    stages: tuple[StageKey, ...]
    reads: tuple[str | None, ...]
    fields: tuple[str, ...] | None
    at: Cell
    alike: tuple[str, ...] = ()

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
        """Return a cell that goes through a stage, with values for all axes."""
        return next(row.at for row in self.rows if stage in row.stages)

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
    """Return the trials of a spec's grid and its baselines, in grid order, baselines first.

    Raises:
        SpecError: no result depends on a field that is an axis.
    """
    study, row_axis = spec.study, spec.study.row_axis
    with nothing_collected():
        made = _made(study, [*study.baselines(spec.cells), *spec.cells])
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in made:
            group = tuple([value for name, value in row.cell.items() if name != row_axis])
            groups.setdefault(group, []).append(row)
        _check_matters(spec, made)
        return [
            Trial(number=number, label=label_of(rows[0].cell, study), cell=rows[0].cell, rows=tuple(rows))
            for number, rows in enumerate(groups.values())
        ]


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Spare Python's search for garbage while all that is made is kept: of 10^5 rows it takes a quarter of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _made(study: Study, cells: Sequence[Cell]) -> list[Row]:
    """Return the rows of cells: each once, however many cells it is of."""
    first: Keys | None = None
    by_study: dict[int, Keys] = {}
    rows: dict[RowKey, Row] = {}
    keys: list[RowKey] = []
    for cell in cells:
        own_study, own = study_at(study, cell)
        if id(own_study) not in by_study:
            by_study[id(own_study)] = Keys(own_study, first)
            first = first or by_study[id(own_study)]
        named = by_study[id(own_study)]
        stages = named.stages(own)
        last = named.last(own, stages)
        keys.append(last.key)
        if last.key not in rows:
            rows[last.key] = Row(cell, last.key, tuple(stages), last.reads, last.fields, cell)
    if not isinstance(study, VariedStudy):
        return [*rows.values()]
    published = merged(cells, keys, own=study.own, fields=[field.path for field in study.fields])
    for key, (cell, alike) in zip(keys, published, strict=True):
        if alike and not rows[key].alike:
            rows[key] = rows[key]._replace(cell=cell, alike=alike)
    return [*rows.values()]


def _check_matters(spec: Spec, rows: Sequence[Row]) -> None:
    """Refuse a field that changes nothing, so that its values would be repetitions which repeat nothing."""
    if not isinstance(spec.study, VariedStudy):
        return
    for field in spec.study.fields:
        if len({cell[field.path] for cell in spec.cells}) < 2:
            continue
        drawn = field.axis.sampled
        idle = not _moves(spec.study, field, spec.cells) if drawn else all(field.path in row.alike for row in rows)
        if idle:
            raise SpecError(
                f"{spec.name}: {'sample.space' if drawn else 'grid'}.{field.path}: found several values of a field on "
                "which no row of this grid depends, expected one that changes results"
            )


def _moves(study: VariedStudy, field: FieldAxis, cells: Sequence[Cell]) -> bool:
    """Say whether a field that is drawn changes any row where it alone has another value: draws differ in all."""
    drawn = [each.path for each in study.fields if each.axis.sampled]
    first = cells[0]
    other = next(cell[field.path] for cell in cells if cell[field.path] != first[field.path])

    def key(cell: Cell) -> RowKey:
        one, own = study_at(study, cell)
        keys = Keys(one)
        return keys.row(own, keys.stages(own))

    try:
        return any(
            key(cell) != key({**cell, field.path: other})
            for cell in cells
            if all(cell[path] == first[path] for path in drawn)
        )
    except SpecError:
        return True  # the two values do not go with the same others: nobody can say that they would be alike


def label_of(cell: Cell, study: Study) -> str:
    """Return what the trial of a cell is called: the values that its rows have in common, of fields with the last parts
    of their name.
    """
    own = study.own if isinstance(study, VariedStudy) else [axis.name for axis in study.axes]
    shown = {name: value for name, value in cell.items() if name != study.row_axis}
    return " ".join(
        f"{'.'.join(name.split('.')[-2:])}={'–' if value is None else value}" if name not in own else str(value)
        for name, value in shown.items()
    )
