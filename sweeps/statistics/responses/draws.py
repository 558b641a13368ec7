"""Rows of many draws as one comparison: means over the draws that all of them share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sweeps.statistics.roles import Roles


def over_draws(rows: pd.DataFrame, roles: Roles) -> pd.DataFrame:
    """Return a line for each configuration, ratio and replicate: the mean of its rows over draws.

    Of each replicate, only draws count that every configuration has at every ratio, as far as the replicate has any:
    means of different draws would differ for that alone. A value that is missing is for the same reason left out
    of all means over that draw, but for lines that have no such values at all. The column that names rows names all.

    Args:
        rows: one per model.
        roles: of the key columns, `sampled` among them.

    Returns:
        The columns of `rows`: means of numbers; of else, the value of the first draw; and in the columns that were
        drawn, of how many draws.
    """
    sampled, group = list(roles.sampled), [*roles.factors, roles.along, roles.replicate]
    if rows.empty or not sampled:
        return rows
    draw = rows.groupby(sampled, sort=False, dropna=False).ngroup()
    cell = rows.groupby(group, sort=False, dropna=False).ngroup()
    there = pd.DataFrame({"replicate": rows[roles.replicate], "draw": draw, "cell": cell})
    wanted = there.groupby("replicate")["cell"].transform("nunique")
    shared = there.groupby(["replicate", "draw"])["cell"].transform("nunique") == wanted
    kept = rows[shared].assign(**{sampled[0]: draw[shared]})
    numbers = [
        name
        for name in rows.columns
        if name not in (*group, *sampled)
        and pd.api.types.is_numeric_dtype(rows[name])
        and not pd.api.types.is_bool_dtype(rows[name])
    ]
    kept = kept.assign(**{name: _of_all(kept[name], roles, draw[shared], cell[shared], kept) for name in numbers})
    how: dict[str, Any] = {name: "mean" if name in numbers else "first" for name in rows.columns if name not in group}
    if roles.identity in how:
        how[str(roles.identity)] = lambda names: " ".join(sorted(names))
    found = kept.groupby(group, sort=True, dropna=False).agg({**how, sampled[0]: "nunique"}).reset_index()
    counts = [f"mean of {count} draws" for count in found[sampled[0]]]
    return found.assign(**dict.fromkeys(sampled, np.array(counts, dtype=object)))[[*rows.columns]]


def _of_all(
    values: pd.Series[Any], roles: Roles, draw: pd.Series[int], cell: pd.Series[int], rows: pd.DataFrame
) -> pd.Series[Any]:
    """Return a column without the values of draws of which other lines of the replicate lack theirs."""
    missing = values.isna()
    if not missing.any():
        return values
    lacks = missing & ~missing.groupby(cell).transform("all")
    return values.mask(lacks.groupby([rows[roles.replicate], draw]).transform("any") & ~missing)


def draw_means(rows: pd.DataFrame, *, metric: str, fields: list[str], replicate: str) -> pd.DataFrame:
    """Return the mean of a metric for each draw of one configuration at one ratio.

    Where some draws have fewer replicates than others, as after halving, their means would differ for the replicates
    alone: what each replicate adds, in the draws that have all of them, is taken off first.

    Args:
        rows: of the configuration at the ratio, one per model.
        metric: the numeric column.
        fields: columns that were drawn.
        replicate: the axis of repetitions.

    Returns:
        A line per draw: the fields, and the mean under the metric's name.
    """
    place = rows.groupby(fields, sort=True, dropna=False).ngroup().rename("place")
    table = rows.groupby([place, replicate])[metric].mean().unstack()
    whole = table.dropna()
    if 0 < len(whole) < len(table):
        table = table - (whole.mean() - whole.to_numpy().mean())
    draws = rows.assign(place=place).drop_duplicates("place").sort_values("place")[fields].reset_index(drop=True)
    return draws.assign(**{metric: table.mean(axis=1).to_numpy()})
