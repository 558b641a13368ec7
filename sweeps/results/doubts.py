"""Values that their own rows do not trust: where the column that doubts a metric is true, or says why, it counts as not
measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd


def trusted(rows: pd.DataFrame, doubts: Mapping[str, str]) -> pd.DataFrame:
    """Return rows with NaN in place of values that are in doubt; nothing else of these rows is.

    Args:
        rows: of a sweep. Those of before may lack the columns that doubt, or hold null there: these are not in doubt.
        doubts: which column, of true and false or of text, doubts which column of numbers; see `Study.doubts`.
    """
    columns = {metric: rows[metric].mask(_is_doubted(rows, mark)) for metric, mark in _there(rows, doubts)}
    return rows.assign(**columns)


def left_out(rows: pd.DataFrame, metric: str, doubts: Mapping[str, str]) -> str:
    """Return a sentence on how many values of a metric `trusted` leaves out, or nothing."""
    for name, mark in _there(rows, doubts):
        count = int(_is_doubted(rows, mark).sum())
        if name == metric and count:
            return f"{metric}: {count} of {len(rows)} rows are left out, which are marked as {mark}"
    return ""


def _there(rows: pd.DataFrame, doubts: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    return [(metric, mark) for metric, mark in doubts.items() if metric in rows and mark in rows]


def _is_doubted(rows: pd.DataFrame, mark: str) -> pd.Series[bool]:
    # In a table of text, such as CSV, truth is a word, and nothing an empty one.
    said = rows[mark].map(lambda value: "" if pd.isna(value) else str(value).strip().lower())
    return ~said.isin(["", "false"])
