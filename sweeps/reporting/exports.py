"""Files that rows have left, copied out of a sweep under names to read, as they are or in another format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sweeps.errors import SpecError, StoppedError, StorageError
from sweeps.reporting.page.file_names import file_stem
from sweeps.results.rows.selection import selected
from sweeps.results.sweep import Sweep, open_sweep
from sweeps.study import Files, Study

Tell = Callable[[str], None]


class _Wanted(NamedTuple):
    """A row to take files of: its cell in words, how names of its files begin, and how those in the sweep do."""

    words: str
    stem: str
    key: str


def export_files(
    location: str, output: Path, *, where: str | None, forms: Sequence[str], tell: Tell, study: str | None = None
) -> None:
    """Write the files of rows into a folder, named after the cells.

    Args:
        location: `<storage>/<name>`.
        output: the folder, made where there is none.
        where: a condition on columns, in the language of `pandas.DataFrame.query`; None: all rows.
        forms: of the study's formats; none: the files as they are.
        tell: takes a line on each row that is done.
        study: see `results.sweep.open_sweep`.

    Raises:
        SpecError: the study has no such format, or the condition is none.
        StorageError: there is no sweep, no row is left or has files, or a file is there already.
        StoppedError: some rows could not be exported; all others were.
    """
    sweep = open_sweep(location, study)
    own = sweep.spec.study
    _check(sweep, forms)
    rows = pd.concat([sweep.baseline, sweep.rows], ignore_index=True)
    wanted = _wanted(selected(rows, where, along=own.row_axis), own)
    groups = [own.formats[form] for form in forms] or list(own.files.values())
    for path in (output / f"{each.stem}{ending}" for each in wanted for endings in groups for ending in endings):
        if path.exists():
            raise StorageError(f"{path}: found a file of that name, expected a new one; nothing was written")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"--output {output}: {error.strerror}, expected a folder to write to") from error
    failed: dict[str, list[str]] = {}
    for number, each in enumerate(wanted, 1):
        kept = _kept(sweep, each)
        try:
            if kept is None:
                raise ValueError("found no files of it in the sweep; a row that was finished without them gets none")
            written = _write(output, each.stem, kept, forms, own)
            tell(f"{number} of {len(wanted)}: {', '.join(written)}")
        except ValueError as error:
            failed.setdefault(" ".join(str(error).split()), []).append(each.words)
            tell(f"{number} of {len(wanted)}: not exported, {each.words}")
    if failed:
        causes = "; ".join(
            f"{cause} ({len(cells)}: {cells[0]}{' …' * (len(cells) > 1)})" for cause, cells in failed.items()
        )
        count = sum(map(len, failed.values()))
        raise StoppedError(f"{count} of {len(wanted)} were not exported: {causes}")


def _check(sweep: Sweep, forms: Sequence[str]) -> None:
    own = sweep.spec.study
    for form in forms:
        if form not in own.formats:
            known = ", ".join(own.formats) or "none of this study"
            raise SpecError(f"{sweep.location}: found the format {form!r}, expected one of its study: {known}")
    if not own.files:
        raise StorageError(
            f"{sweep.location}: found rows that leave no files, expected a sweep of a spec that has them kept"
        )


def _wanted(rows: pd.DataFrame, study: Study) -> list[_Wanted]:
    axes = [axis.name for axis in study.axes]
    lines: list[Mapping[str, Any]] = rows.to_dict("records")  # type: ignore[assignment]
    named = ["-".join(str(line[axis]) for axis in axes) for line in lines]
    times = Counter(named)
    return [
        _Wanted(
            ", ".join(f"{axis} {line[axis]}" for axis in axes),
            file_stem(name, told_by=[str(line["row_key"])] if times[name] > 1 else ()),
            # Versions that named files by the row had no column of the other name, or nothing in it.
            str(line["files_key"] if isinstance(line["files_key"], str) else line["row_key"]),
        )
        for name, line in zip(named, lines, strict=True)
    ]


def _kept(sweep: Sweep, row: _Wanted) -> dict[str, dict[str, bytes]] | None:
    """Return a row's files as they were published; None where one is missing."""
    own = sweep.spec.study
    try:
        return {
            name: {ending: sweep.store.files.read(f"{sweep.spec.name}/{name}/{row.key}{ending}") for ending in endings}
            for name, endings in own.files.items()
        }
    except FileNotFoundError:
        return None


def _write(output: Path, stem: str, kept: Mapping[str, Files], forms: Sequence[str], study: Study) -> list[str]:
    """Write what is wanted of a row, all of it or nothing, and return the names of the files with their sizes."""
    made = [study.export(kept, form) for form in forms] if forms else list(kept.values())
    written = []
    for files in made:
        for ending, data in files.items():
            path = output / f"{stem}{ending}"
            hidden = path.with_name(f".{path.name}")
            hidden.write_bytes(data)
            hidden.replace(path)
            written.append(f"{path} ({len(data) / 1000:,.0f} kB)")
    return written
