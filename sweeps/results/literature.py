"""Values that a study has published, to put beside a sweep of one's own: a CSV file, read and checked.

Its columns are axes of the sweep and columns of its rows, one line per cell. An axis that is not there, or empty,
stands for every level; a metric that is empty, `NA` or the like is not known. Lines that begin with `#` say where the
values come from. How they are shown is told in `reporting/against.py`.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweeps.errors import SweepError
from sweeps.spec.bundles import bundled_files
from sweeps.statistics.roles import Roles

_EVERY = ""
_NO_NUMBER = ["NA", "N/A", "NaN", "nan", "None", "null"]
_CLOSE = 0.75
"""How alike a column and an axis are, of 1, for the one to be taken for a misspelling of the other."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was published.

    Attributes:
        name: of the study, for headings and legends.
        values: a line per cell: the axes as text, empty for every level, but for the one along; then `metrics`, which
            are numbers or missing.
        metrics: columns of the sweep's rows, in the order of the file.
        remark: what the file says of itself.
    """

    name: str
    values: pd.DataFrame
    metrics: list[str]
    remark: str

    def of(self, levels: Mapping[str, Any], metric: str, *, exactly: bool = False) -> pd.DataFrame:
        """Return the lines that have a value of a metric for these levels of axes.

        Args:
            levels: by axis.
            metric: one of `metrics`.
            exactly: leave out lines that stand for every level of one of the axes.
        """
        fits = self.values[metric].notna()
        for axis, level in levels.items():
            column = self.values[axis]
            same = column == level if isinstance(level, str) else pd.to_numeric(column, errors="coerce") == level
            fits &= same if exactly else same | (column == _EVERY)
        return self.values[fits]


def load_published(
    name_or_path: str, *, roles: Roles, known: Sequence[str], named: Mapping[str, str] | None = None
) -> Published:
    """Read published values.

    Args:
        name_or_path: the name of a bundled file, or a CSV file.
        roles: of the key columns.
        known: columns of the rows that may be compared.
        named: by metric, the column of the file that holds it, where that has another name.

    Raises:
        SweepError: the file is not there, or is none of that form; the message says what was found and expected.
    """
    name, text = _read(name_or_path)
    table = _renamed(_table(text, name_or_path), named or {}, name_or_path, known, roles)
    _check_keys(table, known, roles, name_or_path)
    metrics = [str(column) for column in table.columns if column in known]
    if not metrics:
        others = ", ".join(str(column) for column in table.columns if column not in roles.axes) or "no metric"
        raise SweepError(
            f"{name_or_path}: found {others}, expected a column that the rows have, such as {known[0]}; "
            f"`--column {known[0]}=NAME` says which one holds it"
        )
    if roles.along not in table:
        raise SweepError(f"{name_or_path}: found no column {roles.along!r}, expected it among the keys")
    for column in (roles.along, *metrics):
        table[column] = _numbers(table[column], f"{name_or_path}: column {column}")
    if table[roles.along].isna().any():
        raise SweepError(f"{name_or_path}: column {roles.along}: found a line without a number")
    keys = [axis for axis in roles.axes if axis != roles.along]
    words = table.reindex(columns=keys, fill_value=_EVERY).fillna(_EVERY)
    values = pd.concat([words, table[[roles.along, *metrics]]], axis=1)
    _check_unique(values, metrics, roles, name_or_path)
    lines = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
    return Published(name=name, values=values, metrics=metrics, remark=" ".join(lines))


def bundled_values(name: str, *, roles: Roles) -> Published:
    """Read the published values of a bundled file, whatever its metrics are called.

    Raises:
        SweepError: it is of a study with other axes.
    """
    header = _table(_read(name)[1], name).columns
    return load_published(name, roles=roles, known=[str(column) for column in header if column not in roles.axes])


def _read(name_or_path: str) -> tuple[str, str]:
    bundled = bundled_files(".csv")
    if name_or_path in bundled:
        return name_or_path, bundled[name_or_path].read_text(encoding="utf-8")
    path = Path(name_or_path)
    try:
        return path.stem, path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SweepError(
            f"--against {name_or_path!r}: found neither a file nor published values of that name, "
            f"expected a CSV file or one of {', '.join(bundled)}{_hint(name_or_path, list(bundled))}"
        ) from None
    except OSError as error:
        raise SweepError(f"--against {name_or_path!r}: {error.strerror}, expected a CSV file") from error
    except UnicodeDecodeError as error:
        raise SweepError(f"--against {name_or_path!r}: found bytes that are no UTF-8 text, expected CSV") from error


def _table(text: str, source: str) -> pd.DataFrame:
    # Blank lines are none, and keep the numbers of the others.
    lines = ["\n" if line.startswith("#") else line for line in text.splitlines(keepends=True)]
    try:
        _check_widths(lines, source)
        table = pd.read_csv(
            io.StringIO("".join(lines)), dtype=str, index_col=False, keep_default_na=False, na_values=[_EVERY]
        )
    except (ValueError, csv.Error) as error:
        raise SweepError(f"{source}: cannot be read as CSV ({' '.join(str(error).split())})") from error
    if table.empty:
        raise SweepError(f"{source}: found no lines, expected published values")
    return table


def _check_widths(lines: Sequence[str], source: str) -> None:
    reader = csv.reader(lines)
    header = next(filter(None, reader), [])
    for fields in reader:
        if len(fields) > len(header):
            raise SweepError(
                f"{source}: line {reader.line_num}: found {len(fields)} fields, "
                f"expected at most {len(header)} as in the header"
            )


def _renamed(
    table: pd.DataFrame, named: Mapping[str, str], source: str, known: Sequence[str], roles: Roles
) -> pd.DataFrame:
    for metric, column in named.items():
        if metric not in known:
            raise SweepError(f"--column {metric}={column}: found no {metric!r} in the rows{_hint(metric, known)}")
        if column not in table:
            raise SweepError(f"{source}: found no column {column!r}, expected one of {', '.join(table.columns)}")
        if column in roles.axes:
            raise SweepError(f"--column {metric}={column}: found the key {column!r}, expected a column of numbers")
        if metric in table and metric != column:
            raise SweepError(
                f"--column {metric}={column}: found a column {metric!r} in {source} too, expected one of the two"
            )
    return table.rename(columns={column: metric for metric, column in named.items()})


def _check_keys(table: pd.DataFrame, known: Sequence[str], roles: Roles, source: str) -> None:
    """Refuse a misspelled key, which would stand for every level of its axis."""
    missing = [axis for axis in roles.axes if axis not in table]
    for column in table.columns:
        near = difflib.get_close_matches(str(column).strip().lower(), missing, n=1, cutoff=_CLOSE)
        if near and column not in known and column not in roles.axes:
            raise SweepError(
                f"{source}: found a column {column!r}, expected a key by its name; did you mean {near[0]!r}?"
            )


def _numbers(column: pd.Series[str], where: str) -> pd.Series[float]:
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    wrong = column[~np.isfinite(numbers) & column.notna() & ~column.isin(_NO_NUMBER)]
    if len(wrong):
        raise SweepError(f"{where}: found {wrong.iloc[0]!r}, expected a number")
    return numbers


def _check_unique(values: pd.DataFrame, metrics: Sequence[str], roles: Roles, source: str) -> None:
    for metric in metrics:
        given = values[values[metric].notna()]
        twice = given.duplicated(list(roles.axes))
        if twice.any():
            line = given[twice].iloc[0]
            cell = ", ".join(f"{axis} {line[axis]}" for axis in roles.axes if line[axis] != _EVERY)
            raise SweepError(f"{source}: found two values of {metric} for {cell}, expected one")


def _hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
