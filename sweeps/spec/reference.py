"""All that can be looked up of a study: fields of its specs, its axes, the columns of its rows, its tables.

Made from what the engine and the study say of themselves, for `sweeps describe` and docs/reference.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from sweeps.errors import SpecError
from sweeps.spec import bundles, studies
from sweeps.spec.conformance import check_study
from sweeps.spec.loading import Engine, bundled, mapping_of
from sweeps.spec.schema import fields
from sweeps.storage.rows import PROVENANCE, PROVENANCE_MEANINGS
from sweeps.study import Axis, Study

Kind = Literal["field", "axis", "column", "table"]

_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false"}


class Line(NamedTuple):
    """What there is to know of one thing; texts are empty where there is nothing.

    Attributes:
        kind: what it is.
        name: a path as in `--set`, an axis below `grid`, a column, a table, or `table.column`.
        option: of a union that a field belongs to; see `schema.Field`, as for the rest.
    """

    kind: Kind
    name: str
    option: str
    type: str
    default: str
    unit: str
    range: str
    meaning: str


class Section(NamedTuple):
    """Lines that belong together."""

    title: str
    lines: Sequence[Line]


class Known(NamedTuple):
    """A study that is registered.

    Attributes:
        name: of its entry point.
        package: that registers it, and its version.
        place: `module:Class`.
        specs: bundled ones of this study.
    """

    name: str
    package: str
    place: str
    specs: tuple[str, ...]


def known() -> list[Known]:
    """Return the registered studies. Nothing is imported."""
    of_studies: dict[str, list[str]] = {}
    for spec, file in bundled().items():
        try:
            raw = mapping_of(file.read_text(encoding="utf-8"), spec)
        except (SpecError, OSError, UnicodeDecodeError):  # `sweeps specs` tells of it
            continue
        of_studies.setdefault(str(raw.get("study")), []).append(spec)
    return [
        Known(name, bundles.source_of(point), point.value, tuple(of_studies.get(name, ())))
        for name, point in studies.registered().items()
    ]


def study_sections(name: str) -> list[Section]:
    """Return what is to be known of a study, without what all have in common.

    Raises:
        SpecError: there is no such study, or it is broken.
    """
    study = studies.find(name)
    check_study(study, Engine.model_fields)
    tables = [
        Section(f"Table `{table}`: {_meaning(study, table)}", list(_table(study, table))) for table in study.tables
    ]
    return [
        Section("Fields of the study", [Line("field", *field) for field in fields(study.Settings)]),
        Section("Axes: keys of a row, and of `grid`", [_axis(axis) for axis in study.axes]),
        Section("Columns of its rows", list(_columns(study))),
        *tables,
    ]


def common_sections() -> list[Section]:
    """Return what every study has in common."""
    provenance = [_column(name, kind, PROVENANCE_MEANINGS[name]) for name, kind in PROVENANCE.items()]
    return [
        Section("Fields of every spec", [Line("field", *field) for field in fields(Engine)]),
        Section("Columns of every row", provenance),
    ]


def looked_up(sections: Sequence[Section], name: str) -> list[Section]:
    """Return the lines of that name and those below it; else those whose name ends so.

    Raises:
        SpecError: there is none; the message names the nearest.
    """
    for fits in (_is_below, _ends_so):
        found = [Section(title, [line for line in lines if fits(_plain(line.name), name)]) for title, lines in sections]
        if any(section.lines for section in found):
            return [section for section in found if section.lines]
    names = list(dict.fromkeys(_plain(line.name) for section in sections for line in section.lines))
    near = difflib.get_close_matches(name, names, n=1)
    if not near:  # a misspelt last part is far from a long path
        ends = {each.rpartition(".")[2]: each for each in reversed(names)}
        near = [ends[end] for end in difflib.get_close_matches(name.rpartition(".")[2], ends, n=1)]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise SpecError(f"found {name!r}, expected a field, an axis, a column or a table, as listed without it{hint}")


def _axis(axis: Axis) -> Line:
    among = ", ".join(axis.admitted)
    bounds = "at least {:g}, at most {:.16g}".format(*axis.bounds) if axis.bounds is not None else ""
    return Line("axis", f"grid.{axis.name}", "", _TYPES[axis.kind], "", "", among or bounds, axis.meaning)


def _columns(study: type[Study]) -> Iterator[Line]:
    for name, kind in study.columns.items():
        yield _column(name, kind, _meaning(study, name) or study.metrics.get(name, ""))
    for stage in study.stages[:-1]:
        took = f"seconds that the stage `{stage}` took, whichever row paid them; null where a row did without"
        yield _column(f"{stage}_s", float, took)


def _column(name: str, kind: type, meaning: str) -> Line:
    return Line("column", name, "", _TYPES[kind], "", "", "", meaning)


def _table(study: type[Study], table: str) -> Iterator[Line]:
    yield Line("table", table, "", "table", "", "", "", _meaning(study, table))
    for name, kind in study.tables[table].items():
        yield Line("table", f"{table}.{name}", "", _kind(kind), "", "", "", _meaning(study, f"{table}.{name}"))


def _kind(kind: Any) -> str:
    return _TYPES.get(kind) or np.dtype(kind).name


def _meaning(study: type[Study], name: str) -> str:
    meanings: Mapping[str, str] = study.meanings
    return meanings.get(name, "")


def _plain(path: str) -> str:
    return path.replace("[]", "")


def _is_below(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.")


def _ends_so(path: str, name: str) -> bool:
    return path.endswith(f".{name}")
