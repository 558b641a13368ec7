"""Whether what a study answers is what it is asked for: files, baselines, sentences, code, work.

The class is looked at in `conformance`; this is of an instance, whose answers depend on settings and on the grid.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from sweeps.errors import SpecError, SweepError
from sweeps.spec.bundles import cause_of
from sweeps.spec.conformance import is_free
from sweeps.spec.mistakes import LARGEST
from sweeps.storage.store import FOLDERS
from sweeps.study import Axis, Cell, DataTable, Study

Answer = TypeVar("Answer")


class asking:  # noqa: N801 - it reads like a function; a generator takes longer than most answers, of each of 10^5 rows
    """Turn what a study raises when it is asked something into a sentence; its ValueError is one already.

    Raises:
        SpecError: it raised anything else.
    """

    __slots__ = ("_method", "_study")

    def __init__(self, study: Study | type[Study], method: str) -> None:
        """Take who is asked, and what."""
        self._study, self._method = study, method

    def __enter__(self) -> None:
        """Begin to ask."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Say what went wrong."""
        if not isinstance(error, Exception) or isinstance(error, (SweepError, ValueError)):
            return
        made = self._study if isinstance(self._study, type) else type(self._study)
        place = _place(traceback, made.__module__.split(".")[0])
        raise SpecError(
            f"study: {made.__name__}.{self._method}: raised {cause_of(error)} ({place}), expected an answer, or a "
            "ValueError that says what a user is to mend"
        ) from error


def check_answers(study: Study, cells: Sequence[Cell]) -> None:
    """See that a study's files can be told from all else, and that its baselines are cells beside those of the grid.

    Raises:
        SpecError: they cannot, or are none.
    """
    _check_files(study)
    with asking(study, "baselines"):
        found = study.baselines(cells)
    if not isinstance(found, list):
        raise _wrong(study, "baselines", found, "a list of cells")
    known = {tuple(cell.values()) for cell in cells}
    for cell in found:
        _check_baseline(study, cell, known)
        known.add(tuple(cell[axis.name] for axis in study.axes))


def listed(study: Study, method: str, found: Any, kind: type[Answer], expected: str) -> Sequence[Answer]:
    """Return an answer that is to be a list of something.

    Raises:
        SpecError: it is none.
    """
    if not isinstance(found, (list, tuple)) or not all(isinstance(each, kind) for each in found):
        raise _wrong(study, method, found, expected)
    return found


def sentences(study: Study, cells: Sequence[Cell]) -> list[str]:
    """Return what a study has to say before anything runs, after a look at what its stages will read.

    Raises:
        SpecError: that is no list of sentences.
        ValueError: a user must mend something.
    """
    said: list[str] = []
    for method, ask in (("check", study.check), ("remarks", study.remarks)):
        with asking(study, method):
            found = ask(cells)
        said += listed(study, method, found, str, "a list of sentences")
    return said


def data_tables(study: Study, cells: Sequence[Cell]) -> Sequence[DataTable]:
    """Return what a study tells of its data.

    Raises:
        SpecError: that is no list of tables, or a line has more or fewer entries than there are headings.
    """
    found = listed(study, "data", study.data(cells), DataTable, "a list of DataTable")
    for table in found:
        for line in table.lines:
            if len(line) != len(table.heads):
                raise _wrong(study, "data", line, f"an entry for each of {', '.join(table.heads)}")
    return found


def check_replication(study: Study, cells: Sequence[Cell]) -> None:
    """See that what a study says of its replicates is a sentence, or None.

    Raises:
        SpecError: it is not.
    """
    with asking(study, "replication"):
        found = study.replication(cells)
    if found is not None and not isinstance(found, str):
        raise _wrong(study, "replication", found, "a sentence or None")


def cpu_pace(study: Study, gpus: int | None) -> float | None:
    """Return the operations per second that a study's stages sustain on the CPU here; None where they do not say.

    Raises:
        SpecError: that is no such number.
    """
    found = study.cpu_pace(gpus)
    if found is not None and not (isinstance(found, (int, float)) and 0 < found < math.inf):
        raise _wrong(study, "cpu_pace", found, "operations per second, a number above 0, or None")
    return found


def code(study: Study, name: str, cell: Cell) -> dict[str, Sequence[str]]:
    """Return the modules that make a stage's result, by label.

    Raises:
        SpecError: the study answers something else.
    """
    with asking(study, "code"):
        found = study.code(name, cell)
    expected = "a mapping from label to names of modules"
    if not isinstance(found, Mapping):
        raise _wrong(study, "code", found, expected)
    return {label: listed(study, "code", modules, str, expected) for label, modules in found.items()}


def _check_files(study: Study) -> None:
    with asking(study, "files"):
        found = study.files
    if not isinstance(found, Mapping):
        raise _wrong(study, "files", found, "a mapping from a name to endings")
    for name, endings in found.items():
        if not is_free(name, study, {*study.columns, *study.tables}):
            raise SpecError(
                f"study: {type(study).__name__}.files has {name!r}, expected a word that is neither one of its columns "
                f"or tables nor one of {', '.join(sorted(FOLDERS))}, nor an axis or a column of the engine's own"
            )
        texts = listed(study, "files", endings, str, f"a tuple of endings of {name}, such as .txt")
        if not texts or not all(text.startswith(".") and "/" not in text for text in texts):
            raise _wrong(study, "files", endings, f"a tuple of endings of {name}, such as .txt")


def _check_baseline(study: Study, cell: Any, known: Collection[tuple[Any, ...]]) -> None:
    names = [axis.name for axis in study.axes]
    if not isinstance(cell, dict) or set(cell) != set(names):
        raise _wrong(study, "baselines", cell, f"a value for each of {', '.join(names)}")
    for axis in study.axes:
        if not _fits(cell[axis.name], axis):
            expected = f"{axis.kind.__name__} for {axis.name}"
            raise _wrong(study, "baselines", cell[axis.name], expected)
    if tuple(cell[name] for name in names) in known:
        raise _wrong(study, "baselines", cell, "cells that are neither in the grid nor there twice")


def _fits(value: Any, axis: Axis) -> bool:
    if isinstance(value, bool):
        return False
    if axis.kind is str:
        return isinstance(value, str)
    if isinstance(value, int):
        return abs(value) <= LARGEST
    return axis.kind is float and isinstance(value, float) and math.isfinite(value)


def _place(trace: TracebackType | None, package: str) -> str:
    """Return file and line where something was raised: the last that are of a package, where any are."""
    place, own = "", ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        if str(trace.tb_frame.f_globals.get("__name__")).split(".")[0] == package:
            own = place
        trace = trace.tb_next
    return own or place


def _wrong(study: Study, field: str, found: Any, expected: str) -> SpecError:
    return SpecError(f"study: {type(study).__name__}.{field}: found {found!r}, expected {expected}")
