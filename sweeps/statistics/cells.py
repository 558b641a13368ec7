"""Rows of a sweep as the cells that an analysis compares; what is computed from them is in the files beside."""

import difflib
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sweeps.statistics.roles import Roles

Levels = tuple[Any, ...]

_LARGEST = 1e100
"""Squares of larger numbers, and of ones so close to zero, leave the range of floating point."""

_NO_RUNS = pd.Series(dtype=float)


class Pair(NamedTuple):
    """Two levels of one factor at one ratio, the other factors fixed.

    Attributes:
        keys: `factor, level_a, level_b`, the factors (empty for the one that varies), then the ratio.
        a: the metric at `level_a`, indexed by replicate; NaN where it is not finite.
        b: the same at `level_b`, perhaps of other replicates.
    """

    keys: dict[str, Any]
    a: "pd.Series[float]"
    b: "pd.Series[float]"


def questions(rows: pd.DataFrame, *, metric: str, roles: Roles) -> Iterator[list[Pair]]:
    """Yield, for every question "does this factor matter, these others fixed?", all pairs that answer it.

    Pairs are made where both levels have rows, one per ratio at which either has some. Levels are in sorted order,
    `level_a` before `level_b`; pairs are ordered by levels, then ratio; questions by factor, then fixed levels.

    Args:
        rows: fit by `check_rows`.
        metric: one of their columns.
        roles: of the key columns.
    """
    cells = _cells(rows, metric=metric, roles=roles)
    for question in pairs_of_levels(rows, roles):
        yield [
            Pair(keys | {roles.along: at}, cells[a].get(at, _NO_RUNS), cells[b].get(at, _NO_RUNS))
            for keys, a, b in question
            for at in sorted(cells[a].keys() | cells[b].keys())
        ]


def pairs_of_levels(rows: pd.DataFrame, roles: Roles) -> Iterator[list[tuple[dict[str, Any], Levels, Levels]]]:
    """Yield, for every question, its pairs of configurations, and what a pair is called: `factor, level_a, …`; without
    those that are the same rows.

    Args:
        rows: fit by `check_rows`.
        roles: of the key columns.
    """
    known = sorted({*zip(*(rows[factor].tolist() for factor in roles.factors), strict=True)})
    same = _identities(rows, roles)
    for position, factor in enumerate(roles.factors):
        answers: dict[Levels, list[Levels]] = {}
        for levels in known:
            answers.setdefault((*levels[:position], "", *levels[position + 1 :]), []).append(levels)
        for fixed, alike in answers.items():
            others = dict(zip(roles.factors, fixed, strict=True))
            pairs = [
                ({"factor": factor, "level_a": a[position], "level_b": b[position], **others}, a, b)
                for a, b in combinations(alike, 2)
                if not same or same[a] != same[b]
            ]
            if pairs:
                yield pairs


def configurations(rows: pd.DataFrame, roles: Roles) -> Iterator[tuple[Levels, pd.DataFrame]]:
    """Yield the rows of each combination of levels."""
    for levels, part in rows.groupby(roles.factors) if roles.factors else [((), rows)]:
        yield tuple(levels), part


def check_rows(rows: pd.DataFrame, *, metric: str, roles: Roles) -> None:
    """Raise `ValueError` unless `rows` has a complete, unique key and a numeric column `metric` besides."""
    for axis in roles.axes:
        _check_axis(rows, axis, roles)
    check_measured(rows, metric, roles)
    twice = rows.duplicated(list(roles.axes))
    if twice.any():
        key = ", ".join(f"{axis} {rows[axis][twice].iloc[0]}" for axis in roles.axes)
        raise ValueError(f"{twice.sum()} of {len(rows)} rows repeat the key of another, the first is {key}")


def check_measured(rows: pd.DataFrame, column: str, roles: Roles, *, what: str = "metric") -> None:
    """Raise `ValueError` unless `rows` has a column of numbers of that name that is no key; `what` it is to be."""
    if column in roles.axes:
        raise ValueError(f"{what} {column!r} is a key column, expected one that was measured")
    if column not in rows:
        measured = [str(name) for name in rows.columns if name not in roles.axes]
        raise ValueError(f"{what} {column!r} is not a column of the rows; {nearest(column, measured)}")
    _check_numbers(rows[column], what)


def check_apart(columns: Sequence[str]) -> None:
    """Raise `ValueError` where a column of an analysis has the name of another, which is a key: one would be lost."""
    for place, name in enumerate(columns):
        if name in columns[:place]:
            raise ValueError(f"key column {name!r} has the name of a column of the analysis, expected another name")


def nearest(name: str, known: Sequence[str]) -> str:
    """Say which known name was meant, or all that there are."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known) or 'none'}"


def are_numbers(values: "pd.Series[Any]") -> bool:
    """Say whether a column holds numbers, of which true and false are none."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def finite(values: "pd.Series[Any]") -> "pd.Series[float]":
    """Return the numbers, NaN where one is missing or infinite."""
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    return pd.Series(np.where(np.isfinite(numbers), numbers, np.nan), index=values.index)


def _check_axis(rows: pd.DataFrame, axis: str, roles: Roles) -> None:
    if axis not in rows:
        raise ValueError(f"key column {axis!r} is missing from the rows, expected {', '.join(roles.axes)}")
    if rows[axis].isna().any():
        raise ValueError(f"key column {axis!r} is empty in {rows[axis].isna().sum()} of {len(rows)} rows")
    levels = rows[axis].tolist()
    words = [level for level in levels if not isinstance(level, (int, float, np.number))]
    if words and axis == roles.along:
        raise ValueError(f"key column {axis!r} holds {words[0]!r}, expected numbers")
    if words and len(words) < len(levels):
        raise ValueError(f"key column {axis!r} mixes numbers with {words[0]!r}, expected one kind")


def _identities(rows: pd.DataFrame, roles: Roles) -> dict[Levels, set[Any]]:
    """Return which rows each configuration has, where one may be of several; else nothing."""
    if roles.identity is None or roles.identity not in rows:
        return {}
    found: dict[Levels, set[Any]] = {}
    for *levels, name in zip(*(rows[column].tolist() for column in (*roles.factors, roles.identity)), strict=True):
        found.setdefault(tuple(levels), set()).add(name)
    return found


def _check_numbers(values: "pd.Series[Any]", what: str) -> None:
    if not len(values):
        return
    if pd.api.types.is_bool_dtype(values):
        raise ValueError(f"{what} {values.name!r} holds true and false, expected numbers")
    if not pd.api.types.is_numeric_dtype(values):
        words = [value for value in values.dropna() if not isinstance(value, (int, float, np.number))]
        found = repr(words[0]) if words else "no value"
        raise ValueError(f"{what} {values.name!r} holds {found}, expected numbers")
    sizes = finite(values).abs()
    extreme = sizes[(sizes > _LARGEST) | ((sizes > 0) & (sizes < 1 / _LARGEST))]
    if len(extreme):
        sizes_expected = f"0 or a size from {1 / _LARGEST:g} to {_LARGEST:g}"
        raise ValueError(f"{what} {values.name!r} holds {extreme.iloc[0]:g}, expected {sizes_expected}")


def _cells(rows: pd.DataFrame, *, metric: str, roles: Roles) -> dict[Levels, dict[float, "pd.Series[float]"]]:
    """Per configuration and ratio, the metric indexed by replicate."""
    keys = zip(*(rows[axis].tolist() for axis in (*roles.factors, roles.along, roles.replicate)), strict=True)
    cells: dict[Levels, dict[float, dict[Any, float]]] = {}
    for (*levels, at, replicate), value in zip(keys, finite(rows[metric]), strict=True):
        cells.setdefault(tuple(levels), {}).setdefault(at, {})[replicate] = value
    return {
        levels: {at: pd.Series(cell, dtype=float).sort_index() for at, cell in along.items()}
        for levels, along in cells.items()
    }
