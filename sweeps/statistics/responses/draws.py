"""Rows of many draws as one comparison: means over the draws that all of them share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweeps.statistics.roles import Roles


def over_draws(rows: pd.DataFrame, roles: Roles) -> pd.DataFrame:
    """Return a line for each configuration, ratio and replicate: the mean of its rows over draws.

    Of each replicate, only draws count that every configuration has at every ratio, as far as the replicate has any:
    means of different draws would differ for that alone. Values that are missing are left out of a mean.

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
    how = {name: "mean" if name in numbers else "first" for name in rows.columns if name not in group}
    found = kept.groupby(group, sort=True, dropna=False).agg({**how, sampled[0]: "nunique"}).reset_index()
    counts = [f"mean of {count} draws" for count in found[sampled[0]]]
    return found.assign(**dict.fromkeys(sampled, np.array(counts, dtype=object)))[[*rows.columns]]
