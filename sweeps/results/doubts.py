"""Values that their own rows do not trust, or that were measured in circumstances that differ; see `Study.doubts`.

Where a column of truth doubts a metric, its value counts as not measured. Where one of text does, nothing is left out,
but contrasts between rows of different texts are told.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from sweeps.statistics.responses.draws import over_draws
from sweeps.statistics.roles import Roles
from sweeps.study import Doubts


def trusted(rows: pd.DataFrame, doubts: Doubts) -> pd.DataFrame:
    """Return rows with NaN in place of values that are in doubt; nothing else of these rows is.

    Args:
        rows: of a sweep. Those of before may lack the columns that doubt, or hold null there: these are not in doubt.
        doubts: which columns doubt which column of numbers.
    """
    columns: dict[str, pd.Series[float]] = {}
    for metric, mark in _there(rows, doubts):
        columns[metric] = columns.get(metric, rows[metric]).mask(_is_doubted(rows, mark))
    return rows.assign(**columns)


def trusted_over_draws(rows: pd.DataFrame, doubts: Doubts, roles: Roles) -> pd.DataFrame:
    """Return means over draws of what is not in doubt: a mark is of one row, and would be of the first draw's alone.

    Args:
        rows: one per model; as they are, where nothing was drawn.
        doubts: see `trusted`.
        roles: of the key columns.
    """
    if not roles.sampled:
        return rows
    means = over_draws(trusted(rows, doubts), roles)
    return means.assign(
        **{mark: means[mark].mask(_is_doubted(means, mark), False) for _, mark in _there(means, doubts)}
    )


def caveats(
    rows: pd.DataFrame, metric: str, doubts: Doubts, *, roles: Roles, baseline: pd.DataFrame | None = None
) -> list[str]:
    """Return what is to be said of a metric before it is compared: what `trusted` leaves out, and what is mixed.

    Args:
        rows: of the grid.
        metric: a column of numbers.
        doubts: see `trusted`.
        roles: of the key columns.
        baseline: rows of which values are left out too.
    """
    every = rows if baseline is None or baseline.empty else pd.concat([baseline, rows])
    return [*filter(None, [left_out(every, metric, doubts), mixed(rows, metric, doubts, roles=roles)])]


def left_out(rows: pd.DataFrame, metric: str, doubts: Doubts) -> str:
    """Return a sentence on how many values of a metric `trusted` leaves out, or nothing."""
    for name, mark in _there(rows, doubts):
        count = int(_is_doubted(rows, mark).sum())
        if name == metric and count:
            return f"{metric}: {count} of {len(rows)} rows are left out, which are marked as {mark}"
    return ""


def mixed(rows: pd.DataFrame, metric: str, doubts: Doubts, *, roles: Roles) -> str:
    """Return a sentence on the axes whose levels are compared in circumstances that differ, or nothing.

    An axis is named if rows differ in the circumstance while all other axes but the replicates' agree: these are what a
    contrast of its levels compares. Rows of which it is not known are left alone.
    """
    if not {metric, *roles.axes} <= set(rows):
        return ""
    measured = trusted(rows, doubts).dropna(subset=[metric])
    said = []
    for name, mark in _there(measured, doubts):
        known = measured[measured[mark].notna()]
        if name != metric or _is_truth(known[mark]):
            continue
        compared = [*roles.factors, roles.along]
        axes = [axis for axis in compared if _differs(known, mark, axis=axis, others=set(compared) - {axis})]
        if axes:
            found = ", ".join(
                f"{text} ({count})" for text, count in known[mark].astype(str).value_counts().sort_index().items()
            )
            said.append(f"{metric}: contrasts of {' and '.join(axes)} mix rows that differ in {mark}, {found}")
    return "; ".join(said)


def _differs(rows: pd.DataFrame, mark: str, *, axis: str, others: set[str]) -> bool:
    """Say whether an axis has levels to compare, and rows of different marks are compared by it."""
    if rows[axis].nunique() < 2:
        return False
    found = rows.groupby(sorted(others), dropna=False)[mark].nunique().max() if others else rows[mark].nunique()
    return bool(found > 1)


def _there(rows: pd.DataFrame, doubts: Doubts) -> Iterator[tuple[str, str]]:
    for metric, marks in doubts.items():
        for mark in [marks] if isinstance(marks, str) else marks:
            if metric in rows and mark in rows:
                yield metric, mark


def _is_truth(marks: pd.Series[str]) -> bool:
    # In a table of text, such as CSV, truth is a word.
    return set(marks.astype(str).str.lower()) <= {"true", "false"}


def _is_doubted(rows: pd.DataFrame, mark: str) -> pd.Series[bool]:
    return rows[mark].map(lambda value: str(value).lower() == "true").astype(bool)
