"""Rows that rules of the spec leave out: which, by what rule, and what that does to means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from sweeps.planning.rules import columns, judge
from sweeps.results.rows.present import keys_of
from sweeps.spec import Spec
from sweeps.study import Cell


def left_out(spec: Spec, rows: pd.DataFrame, failed: Collection[tuple[Any, ...]] = ()) -> dict[tuple[Any, ...], str]:
    """Return the cells that are left out, by the values of their axes, each with the rule in words.

    Args:
        spec: whose rules they are.
        rows: all that are there.
        failed: cells that failed, by the values of their axes.
    """
    looked_at = columns(spec)
    if not looked_at:
        return {}
    axes = [axis.name for axis in spec.study.axes]
    cells: dict[Hashable, Cell] = {tuple(cell[axis] for axis in axes): cell for cell in spec.planned}
    known = [name for name in looked_at if name in rows]
    lines = rows[known].to_dict("records")
    values: dict[Hashable, Mapping[str, Any]] = dict(zip(keys_of(rows, axes), lines, strict=True))  # type: ignore[arg-type]
    return {tuple(key): why for key, why in judge(spec, cells, values, failed).skipped.items()}  # type: ignore[arg-type]


def sentence(name: str, rules: Sequence[str]) -> str:
    """Return a sentence on rows that are left out, given the rule of each; no text where there are none."""
    counted = ", ".join(f"{count} ({rule})" for rule, count in Counter(rules).items())
    if not counted:
        return ""
    return (
        f"{name}: rules left rows out: {counted}; means where some of their rows are left out are of the others alone"
    )


def with_left_out(rows: pd.DataFrame, skipped: Mapping[tuple[Any, ...], str], axes: Sequence[str]) -> pd.DataFrame:
    """Return rows with a line for each cell that is left out, which has nothing but its axes, and a column `skipped`
    that says by what rule; null in rows that are there.
    """
    lines = pd.DataFrame([[*key, rule] for key, rule in skipped.items()], columns=[*axes, "skipped"])
    there = rows.assign(skipped=None)
    if lines.empty:
        return there
    whole = pd.concat([there, lines.reindex(columns=there.columns)], ignore_index=True)
    return whole.sort_values([*axes], ignore_index=True)
