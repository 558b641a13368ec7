"""A study whose settings differ from cell to cell: each cell is answered by the study with the cell's own settings.

It stands in the place of the study wherever a grid has axes that are fields of settings. What computes asks `study_at`
for the study of a cell, which knows nothing of such axes: keys and results are those of a sweep with these settings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sweeps.errors import SpecError
from sweeps.spec.axes.values import FieldAxis, laid_over
from sweeps.spec.mistakes import validated
from sweeps.study import Cell, Course, DataTable, Files, Gallery, Lines, Stage, Study, Workload

DECLARED = (
    *("stages", "row_axis", "replicate_axis", "columns", "metrics", "beside", "doubts", "pruned", "panel_axis"),
    *("tables", "formats", "meanings", "trade_off", "baseline_name", "measurement"),
)
"""What a study declares as a class."""

MOST_GALLERIES = 8
"""Settings of which a report shows pictures, at most."""


MOST_DRAWN = 16
"""Different numbers that were drawn of a field, at most, of which each is asked about."""

_WHOLE = re.compile(r"; replace the whole mapping \(--set '([^=]+)=(.+)'\)$")
"""What is said to whoever gives one value of a field that decides which others there are."""


class VariedStudy(Study):
    """A study with axes that are fields of its settings; whatever takes a cell is answered by the cell's own study.

    Attributes:
        own: the names of the study's own axes.
        fields: the other axes.
    """

    def __init__(self, study: Study, fields: Sequence[FieldAxis]) -> None:
        """Take the study with the settings that hold wherever the grid says nothing."""
        super().__init__(study.settings)
        for name in DECLARED:
            setattr(self, name, getattr(study, name))
        self._study, self._raw = study, study.settings.model_dump(mode="json")
        self.own = tuple(axis.name for axis in study.axes)
        self.fields = tuple(fields)
        setattr(self, "axes", (*study.axes, *(field.axis for field in fields)))  # noqa: B010 - no other instance's
        self._paths = [field.path for field in fields]
        self._variants: dict[tuple[Any, ...], Study] = {}

    @property
    def kind(self) -> type[Study]:
        """The study's class."""
        return type(self._study)

    def at(self, cell: Mapping[str, Any]) -> Study:
        """Return the study with the settings of a cell.

        Raises:
            SpecError: there are no such settings.
        """
        values = self._values(cell)
        if values not in self._variants:
            raw = self._raw
            for field, value in zip(self.fields, values, strict=True):
                raw = laid_over(raw, field.path, field.setting(value))
            try:
                settings = validated(type(self.settings), raw)
                self._variants[values] = self.kind(settings)
            except (SpecError, ValueError) as error:
                said = self.said(values)
                lines = (
                    _WHOLE.sub(r"; give whole alternatives, grid.\1: [\2, ...]", line)
                    for line in str(error).splitlines()
                )
                raise SpecError("\n".join(f"grid: {said}: {line}" for line in lines)) from error
        return self._variants[values]

    def own_of(self, cell: Mapping[str, Any]) -> Cell:
        """Return a cell with the study's own axes alone."""
        return {name: cell[name] for name in self.own}

    def said(self, values: Sequence[Any]) -> str:
        """Return values of the fields in words."""
        pairs = zip(self.fields, values, strict=True)
        return ", ".join(f"{field.path} {'null' if value is None else value}" for field, value in pairs)

    def variants(self, cells: Sequence[Cell]) -> Iterator[tuple[tuple[Any, ...], Study, list[Cell]]]:
        """Yield the settings that cells have, the study with them, and its cells by its own axes alone."""
        for values, group in self._groups(cells).items():
            yield values, self.at(group[0]), [self.own_of(cell) for cell in group]

    def _groups(self, cells: Sequence[Cell]) -> dict[tuple[Any, ...], list[Cell]]:
        groups: dict[tuple[Any, ...], list[Cell]] = {}
        for cell in cells:
            groups.setdefault(self._values(cell), []).append(cell)
        return groups

    def _values(self, cell: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple([cell[path] for path in self._paths])

    def _few(self, cells: Sequence[Cell]) -> Iterator[tuple[Study, list[Cell]]]:
        """Yield enough of the variants that every value of every field is there, and of many numbers that were drawn
        the ends: what is read before a run, and said of it, takes too long for each combination.
        """
        groups = self._groups(cells)
        wanted = set(enumerate(next(iter(groups), ())))
        for place, field in enumerate(self.fields):
            wanted |= {(place, value) for value in _telling(field, {values[place] for values in groups})}
        for values, group in groups.items():
            here = wanted.intersection(enumerate(values))
            if here:
                wanted -= here
                yield self.at(group[0]), [self.own_of(cell) for cell in group]

    def _sentences(self, cells: Sequence[Cell], say: Callable[[Study, list[Cell]], Sequence[str]]) -> list[str]:
        return list(dict.fromkeys(sentence for study, own in self._few(cells) for sentence in say(study, own)))

    # What a study says

    @property
    def files(self) -> Mapping[str, Sequence[str]]:
        """Files of any of the settings that were asked for."""
        known = [self._study, *self._variants.values()]
        return {name: endings for study in known for name, endings in study.files.items()}

    @property
    def measured_under(self) -> Mapping[str, Any]:
        """Under what rows were measured to which the grid says nothing."""
        return self._study.measured_under

    def export(self, files: Mapping[str, Files], form: str) -> Files:
        """Return a row's files in another format."""
        return self._study.export(files, form)

    def check(self, cells: Sequence[Cell]) -> Sequence[str]:
        """Read what the stages will read, with every value of every field."""
        return self._sentences(cells, lambda study, own: study.check(own))

    def data(self, cells: Sequence[Cell]) -> Sequence[DataTable]:
        """Return the tables of the data with every value of every field, each once."""
        found: list[DataTable] = []
        for study, own in self._few(cells):
            found += [table for table in study.data(own) if table not in found]
        return found

    def cpu_pace(self, gpus: int | None) -> float | None:
        """Return what a CPU sustains: the machine's, whatever the settings are."""
        return self._study.cpu_pace(gpus)

    def remarks(self, cells: Sequence[Cell]) -> Sequence[str]:
        """Return what is said with any value of any field."""
        return self._sentences(cells, lambda study, own: study.remarks(own))

    def replication(self, cells: Sequence[Cell]) -> str | None:
        """Return what is said with any value of any field."""
        said = [study.replication(own) for study, own in self._few(cells)]
        return "; ".join(dict.fromkeys(filter(None, said))) or None

    @property
    def paired(self) -> bool:
        """Whether rows of one replicate belong together in all settings that were asked for."""
        return all(study.paired for study in [*self._variants.values()] or [self._study])

    def facts(self, cells: Sequence[Cell]) -> Mapping[str, str]:
        """Return what is told with any value of any field, where that differs one after the other."""
        told: dict[str, dict[str, None]] = {}
        for study, own in self._few(cells):
            for label, words in study.facts(own).items():
                told.setdefault(label, {})[words] = None
        return {label: "; or ".join(words) for label, words in told.items()}

    def baselines(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return the baselines of each of the settings; some may be one row."""
        return [
            {**baseline, **dict(zip(self._paths, values, strict=True))}
            for values, study, own in self.variants(cells)
            for baseline in study.baselines(own)
        ]

    def is_baseline(self, cell: Mapping[str, Any]) -> bool:
        """Say whether a cell came from `baselines`."""
        return self._any_at(cell).is_baseline(self.own_of(cell))

    def stage(self, name: str, cell: Cell) -> Stage | None:
        """Declare a stage as the cell's own study does."""
        return self.at(cell).stage(name, self.own_of(cell))

    def code(self, name: str, cell: Cell) -> Mapping[str, Sequence[str]]:
        """Return the modules that make a stage's result."""
        return self.at(cell).code(name, self.own_of(cell))

    def workloads(self, name: str, cell: Cell) -> Sequence[Workload]:
        """Return the parts of a declared stage's work."""
        return self.at(cell).workloads(name, self.own_of(cell))

    def galleries(
        self, rows: Sequence[Mapping[str, Any]], lines: Callable[[str, str], Lines | None]
    ) -> Sequence[Gallery]:
        """Return pictures of the rows of each of the first few settings; a value that does not matter is any."""
        found: list[Gallery] = []
        for said, study, fit in self._first_few(rows):
            found += [each._replace(title=f"{each.title}: {said}") for each in study.galleries(fit, lines)]
        return found

    def courses(self, rows: Sequence[Mapping[str, Any]], lines: Callable[[str, str], Lines | None]) -> Sequence[Course]:
        """Return curves of the rows of each of the first few settings, as of pictures."""
        found: list[Course] = []
        for said, study, fit in self._first_few(rows):
            found += [each._replace(title=f"{each.title}: {said}") for each in study.courses(fit, lines)]
        return found

    def _first_few(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Study, Sequence[Mapping[str, Any]]]]:
        """Yield each of the first few settings in words, its study, and the rows that are of it."""
        every = {self._values(row): row for row in rows if not self.is_baseline(row)}
        whole = [values for values in every if None not in values] or [*every]
        for values in whole[:MOST_GALLERIES]:
            fit = [row for row in rows if self._fits(self._values(row), values)]
            yield self.said(values), self._any_at(every[values]), fit

    def _fits(self, found: Sequence[Any], wanted: Sequence[Any]) -> bool:
        return all(each is None or each == other for each, other in zip(found, wanted, strict=True))

    def _any_at(self, cell: Mapping[str, Any]) -> Study:
        """Return the study of a published cell: where a value does not matter, or is of another grid, any will do."""
        values = self._values(cell)
        if values in self._variants:
            return self._variants[values]
        try:
            return self._study if None in values else self.at(cell)
        except SpecError:
            return self._study


def _telling(field: FieldAxis, values: set[Any]) -> set[Any]:
    """Return the values of a field of which more is asked than whether they are valid, which every one is."""
    if len(values) <= MOST_DRAWN or not field.axis.sampled or field.axis.kind not in (int, float):
        return values
    known = values - {None}
    return {min(known), max(known), *(values - known)}


def fields_of(study: Study) -> Sequence[FieldAxis]:
    """Return the axes that are fields of the study's settings."""
    return study.fields if isinstance(study, VariedStudy) else ()


def study_at(study: Study, cell: Cell) -> tuple[Study, Cell]:
    """Return the study with the settings of a cell, and the cell by the study's own axes.

    Raises:
        SpecError: there are no such settings.
    """
    if isinstance(study, VariedStudy):
        return study.at(cell), study.own_of(cell)
    return study, cell


def check_cells(study: Study, cells: Sequence[Cell], check: Callable[[Study, Sequence[Cell]], None]) -> None:
    """Call `check` with every study that cells have, and its own cells.

    Raises:
        SpecError: there are no such settings, or `check` says so.
    """
    if isinstance(study, VariedStudy):
        for _, one, own in study.variants(cells):
            check(one, own)
    else:
        check(study, cells)
