"""Whether a study is one: every mistake in what it declares, in one sentence, before anything is computed.

`check_study` looks at the class, when a spec names it; `check_stage` at what it declares of a cell, when it is planned.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

from sweeps.errors import SpecError
from sweeps.statistics.roles import ANALYSED
from sweeps.storage.rows import PROVENANCE, stage_columns
from sweeps.storage.store import FOLDERS
from sweeps.storage.tables import FILES_KEY, ROW_KEY
from sweeps.study import Axis, Cell, Draft, Further, Stage, Study, TradeOff

_AXIS = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
_OPTION = re.compile(r"(?!(set|force|help)$)[a-z][a-z0-9-]*")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
CONFIGURATION = "configuration"
"""What analyses call the levels of a row in words, in a column beside all others."""

_KINDS: tuple[type, ...] = (str, int, float)


def check_study(study: type[Study], engine_fields: Collection[str]) -> None:
    """See that a class is a study.

    Args:
        engine_fields: of a spec, which no study may have among its settings.

    Raises:
        SpecError: it is not; the message names the study and the field.
    """
    if inspect.isabstract(study):
        missing = ", ".join(sorted(vars(study)["__abstractmethods__"]))
        raise SpecError(f"study: {study.__name__}: found no {missing}, expected every method of an abstract class")
    for field, mistake in _mistakes(study, engine_fields):
        raise SpecError(f"study: {study.__name__}.{field}: {mistake}")


def check_stage(study: Study, name: str, stage: Stage | None, cell: Cell) -> None:
    """See that what a study declares of a stage of a cell can be computed.

    Raises:
        SpecError: it cannot.
    """
    for mistake in _mistakes_of_stage(study, name, stage):
        at = ", ".join(f"{axis} {value}" for axis, value in cell.items())
        raise SpecError(f"study: {type(study).__name__}.stage({name!r}) of {at}: {mistake}")


def slots(study: Study | type[Study], name: str, stage: Stage) -> int:
    """Return how many results a stage is handed: as many as it reads, and by default the one before it, if any."""
    return int(name != study.stages[0]) if stage.reads is None else len(stage.reads)


def _mistakes(study: type[Study], engine_fields: Collection[str]) -> Iterator[tuple[str, str]]:
    for field in ("axes", "stages", "row_axis", "replicate_axis", "columns", "metrics"):
        if not hasattr(study, field):
            yield field, "found nothing, expected it of every study"
            return
    try:
        inspect.signature(study).bind(None)
    except TypeError:
        yield "__init__", "found other arguments, expected it to take validated settings alone"
    yield from _of_settings(study, engine_fields)
    yield from _of_stages(study)
    yield from _of_axes(study)
    yield from _of_columns(study)
    yield from _of_tables(study)
    yield from _of_meanings(study)
    yield from _of_formats(study)
    yield from _of_drafts(study)


def _of_settings(study: type[Study], engine_fields: Collection[str]) -> Iterator[tuple[str, str]]:
    if not (isinstance(study.Settings, type) and issubclass(study.Settings, BaseModel)):
        yield "Settings", f"found {study.Settings!r}, expected a pydantic model"
        return
    for name in study.Settings.model_fields:
        if name in engine_fields:
            yield "Settings", f"found a field {name!r}, which every spec has, expected another name"


def _of_stages(study: type[Study]) -> Iterator[tuple[str, str]]:
    stages = study.stages
    if not isinstance(stages, tuple) or not stages:
        yield "stages", f"found {stages!r}, expected a tuple of at least one name"
        return
    for name in stages:
        if not isinstance(name, str) or not _WORD.fullmatch(name) or hasattr(Study, name):
            yield "stages", f"found {name!r}, expected a word that no attribute of Study has"
        elif stages.count(name) > 1:
            yield "stages", f"found {name!r} twice, expected different names"
        elif not callable(getattr(study, name, None)):
            yield "stages", f"found {name!r} and no method of that name, expected one that computes it"


def _of_axes(study: type[Study]) -> Iterator[tuple[str, str]]:
    axes = study.axes
    if not isinstance(axes, tuple) or not axes or not all(isinstance(axis, Axis) for axis in axes):
        yield "axes", f"found {axes!r}, expected a tuple of Axis"
        return
    names = [axis.name for axis in axes]
    for axis in axes:
        if not isinstance(axis.name, str) or not _AXIS.fullmatch(axis.name) or axis.name in ("include", "exclude"):
            yield "axes", f"found the name {axis.name!r}, expected a word other than include and exclude"
        elif names.count(axis.name) > 1:
            yield "axes", f"found {axis.name!r} twice, expected different names"
        elif axis.kind not in _KINDS:
            yield "axes", f"{axis.name}: found the type {_shown(axis.kind)}, expected str, int or float"
        elif axis.choices is not None and axis.kind is not str:
            yield "axes", f"{axis.name}: found choices of {axis.kind.__name__}, expected them of text alone"
        elif axis.choices is not None and not (axis.choices and _are_texts(axis.choices)):
            yield "axes", f"{axis.name}: found the choices {axis.choices!r}, expected a tuple of texts"
        elif axis.further is not None and not (isinstance(axis.further, Further) and axis.choices):
            yield "axes", f"{axis.name}: found {axis.further!r} beside its choices, expected choices and a Further"
        elif axis.bounds is not None and axis.kind is str:
            yield "axes", f"{axis.name}: found bounds of text, expected them of numbers alone"
        elif axis.bounds is not None and not _is_interval(axis.bounds):
            yield "axes", f"{axis.name}: found the bounds {axis.bounds!r}, expected the lowest and the highest number"
        elif axis.name in _taken(study):
            yield "axes", f"found {axis.name!r}, which is a column of the engine's own, expected another name"
        elif axis.name in ANALYSED:
            yield "axes", f"found {axis.name!r}, which is a column of analyses and reports, expected another name"
    for field in ("row_axis", "replicate_axis", "panel_axis"):
        name = getattr(study, field)
        if name not in names and not (name is None and field == "panel_axis"):
            yield field, f"found {name!r}, expected one of {', '.join(names)}"
    if study.row_axis == study.replicate_axis:
        yield "replicate_axis", f"found {study.replicate_axis!r}, which is the row axis too, expected another axis"
    if study.panel_axis in (study.row_axis, study.replicate_axis):
        yield "panel_axis", f"found {study.panel_axis!r}, expected neither the row axis nor the replicate axis"
    for axis in axes:
        if axis.name == study.row_axis and axis.kind is str:
            yield "row_axis", f"found {axis.name!r}, whose values are text, expected numbers, along which curves run"


def _of_columns(study: type[Study]) -> Iterator[tuple[str, str]]:
    taken, names = _taken(study), [axis.name for axis in study.axes]
    for field, values in (("columns", "type"), ("metrics", "label"), ("doubts", "column")):
        if not isinstance(getattr(study, field), Mapping):
            yield field, f"found {getattr(study, field)!r}, expected a mapping from column to {values}"
            return
    for name, kind in study.columns.items():
        if kind not in (*_KINDS, bool):
            yield "columns", f"{name}: found the type {_shown(kind)}, expected str, int, float or bool"
        elif not isinstance(name, str) or not name.isidentifier():
            yield "columns", f"found the name {name!r}, expected a word"
        elif name in names:
            yield "columns", f"found {name!r}, which is an axis too, expected another name"
        elif name in taken:
            yield "columns", f"found {name!r}, which is a column of the engine's own, expected another name"
        elif name == CONFIGURATION:
            yield "columns", f"found {name!r}, which is a column of analyses and reports, expected another name"
        elif name.endswith("_s") and kind not in (int, float):
            yield "columns", f"{name}: found the type {_shown(kind)}, expected a number of seconds, as _s says"
    if not study.metrics:
        yield "metrics", "found none, expected at least the one that is the study's main question"
    for name, label in study.metrics.items():
        if study.columns.get(name) not in (int, float):
            yield "metrics", f"found {name!r}, expected columns of numbers: {_listed(_numbers(study))}"
        elif not isinstance(label, str):
            yield "metrics", f"{name}: found the label {label!r}, expected text"
    for field, pairs in (("beside", study.beside), ("earlier", study.earlier)):
        for name in (*pairs, *pairs.values()):
            if name not in study.metrics:
                yield field, f"found {name!r}, expected metrics: {_listed([*study.metrics])}"
    for name, marks in study.doubts.items():
        if study.columns.get(name) not in (int, float):
            yield "doubts", f"found {name!r}, expected columns of numbers: {_listed(_numbers(study))}"
            continue
        if not isinstance(marks, str) and not (marks and _are_texts(marks)):
            yield "doubts", f"{name}: found {marks!r}, expected the name of a column, or several"
            continue
        for mark in [marks] if isinstance(marks, str) else marks:
            if study.columns.get(mark) not in (bool, str):
                yield (
                    "doubts",
                    f"{name}: found {mark!r}, expected a column of bool, true where {name} is not to be trusted, or of "
                    "str, which rows that are compared should agree in",
                )
    if study.trade_off is not None:
        if not isinstance(study.trade_off, TradeOff):
            yield "trade_off", f"found a {type(study.trade_off).__name__}, expected a TradeOff"
            return
        if not _are_texts(study.trade_off):
            yield "trade_off", f"found {study.trade_off!r}, expected texts"
            return
        if study.trade_off.against == study.trade_off.metric:
            yield "trade_off", f"found {study.trade_off.metric!r} against itself, expected two metrics"
        for name in (study.trade_off.against, study.trade_off.metric):
            if name not in study.metrics:
                yield "trade_off", f"found {name!r}, expected metrics: {_listed([*study.metrics])}"
    if study.pruned is not None and not isinstance(study.pruned, str):
        yield "pruned", f"found {study.pruned!r}, expected what is pruned, in the plural, or None"


def _of_tables(study: type[Study]) -> Iterator[tuple[str, str]]:
    if not isinstance(study.tables, Mapping):
        yield "tables", f"found {study.tables!r}, expected a mapping from table to its columns"
        return
    for name, columns in study.tables.items():
        if not is_free(name, study, {*study.columns}):
            yield (
                "tables",
                f"found {name!r}, expected a word that is neither one of its columns nor one of "
                f"{', '.join(sorted(FOLDERS))}, nor an axis or a column of the engine's own",
            )
        if not isinstance(columns, Mapping) or not columns:
            yield "tables", f"{name}: found {columns!r}, expected a mapping from column to type, of one at least"
            return
        for key in {ROW_KEY, FILES_KEY} & columns.keys():
            yield "tables", f"{name}: found a column {key!r}, which every table has"
        for column, kind in columns.items():
            if not isinstance(column, str) or not column:
                yield "tables", f"{name}: found a column {column!r}, expected a name"
            elif not _is_kind(kind):
                yield "tables", f"{name}.{column}: found the type {_shown(kind)}, expected str, bool or a type of numpy"


def _of_meanings(study: type[Study]) -> Iterator[tuple[str, str]]:
    known = {*study.columns, *study.tables, *(f"{name}.{each}" for name in study.tables for each in study.tables[name])}
    for name in study.meanings:
        if name not in known:
            yield "meanings", f"found {name!r}, expected a column, a table, or table.column"


def _of_formats(study: type[Study]) -> Iterator[tuple[str, str]]:
    if study.formats and study.export is Study.export:
        yield "formats", f"found {_listed([*study.formats])} and no method `export`, expected one that makes them"


def _of_drafts(study: type[Study]) -> Iterator[tuple[str, str]]:
    for name, draft in study.drafts.items():
        if not _OPTION.fullmatch(name):
            yield "drafts", f"found the name {name!r}, expected small letters, and no option of `sweeps new`"
        elif not isinstance(draft, Draft):
            yield "drafts", f"{name}: found a {type(draft).__name__}, expected a Draft"


def _mistakes_of_stage(study: Study, name: str, stage: Stage | None) -> Iterator[str]:
    last, names = study.stages[-1], [axis.name for axis in study.axes]
    if stage is None:
        if name == last:
            yield "found None, expected a Stage: every row has the last one"
        return
    if not isinstance(stage, Stage):
        yield f"found a {type(stage).__name__}, expected a Stage or None"
        return
    for field, value in (("axes", stage.axes), ("fields", stage.fields or ()), ("reads", stage.reads or ())):
        if not (isinstance(value, tuple) and _are_texts(value)):
            yield f"{field}: found {value!r}, expected a tuple of names"
            return
    if stage.settings is not None and not isinstance(stage.settings, Mapping):
        yield f"settings: found {stage.settings!r}, expected a mapping or None"
        return
    for axis in stage.axes:
        if axis not in names:
            yield f"axes: found {axis!r}, expected some of {', '.join(names)}"
    missing = [axis for axis in names if axis not in stage.axes]
    if name == last and missing:
        yield f"axes: found no {missing[0]!r}, expected all axes: the last stage makes the row of a cell"
    for path in stage.fields or ():
        if not _has(type(study.settings), path.split(".")):
            yield f"fields: found {path!r}, which is no setting of {type(study).__name__}"
    before = study.stages[: study.stages.index(name)]
    for read in stage.reads or ():
        if read not in before:
            yield f"reads: found {read!r}, expected some of the stages before it: {_listed(before)}"
    count = slots(study, name, stage) + 2
    try:
        inspect.signature(getattr(study, name)).bind(*range(count))
    except TypeError:
        handed = ", ".join(["cell", *(stage.reads or before[-1:] if stage.reads is None else stage.reads), "progress"])
        yield f"found a method that does not take what it is handed, expected {name}(self, {handed})"


def is_free(name: Any, study: type[Study] | Study, others: Collection[str]) -> bool:
    """Say whether a table or a sort of files can be told by a name from all else of a row, and of a sweep's folder."""
    taken = {*FOLDERS, *_taken(study), *(axis.name for axis in study.axes), *others}
    return isinstance(name, str) and name.isidentifier() and not name.startswith("_") and name not in taken


def _are_texts(values: Any) -> bool:
    return isinstance(values, (tuple, list)) and all(isinstance(value, str) for value in values)


def _is_interval(bounds: Any) -> bool:
    try:
        lowest, highest = bounds
        return bool(lowest <= highest) and all(isinstance(each, (int, float)) for each in bounds)
    except (TypeError, ValueError):
        return False


def _taken(study: type[Study] | Study) -> set[str]:
    """Return the columns that the engine adds."""
    return {*PROVENANCE, *stage_columns(study)}


def _has(model: Any, path: Sequence[str]) -> bool:
    """Say whether there may be a setting at a path."""
    if not path:
        return True
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        inside = [part for part in typing.get_args(model) if part is not type(None)]
        # Of the values of a mapping, nothing is known by their names.
        return typing.get_origin(model) is dict or any(_has(part, path) for part in inside)
    field = model.model_fields.get(path[0])
    return field is not None and _has(field.annotation, path[1:])


def _is_kind(kind: Any) -> bool:
    try:
        return kind is str or np.dtype(kind).kind in "biuf"
    except TypeError:
        return False


def _numbers(study: type[Study]) -> list[str]:
    return [name for name, kind in study.columns.items() if kind in (int, float)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "there are none"


def _shown(kind: Any) -> str:
    return str(getattr(kind, "__name__", repr(kind)))
