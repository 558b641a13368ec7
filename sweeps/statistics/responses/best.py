"""The best of many draws, and how sure that is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from sweeps.statistics.analysis import CONFIDENCE
from sweeps.statistics.cells import check_apart, check_measured, finite
from sweeps.statistics.roles import Roles

SWEEPS = 50
"""Of means of draws and of replicates in turn, which leave what neither tells."""


def best_draws(rows: pd.DataFrame, *, metric: str, fields: list[str], most: int = 5, roles: Roles) -> pd.DataFrame:
    """Return the draws with the highest means of a metric, for every configuration at each ratio; those with the most
    replicates first, since a draw of one alone that halving left behind was lucky with it, or its replicate was.

    The mean of the best of many is too high, since luck has chosen it too: the more so, the more draws there are and
    the wider their intervals. `as_good` counts the draws that are not shown to be worse than the best one: t tests of
    the differences of means over the replicates that both have, by one variance of all draws beside the replicates' own
    effect, at 5% of all draws together (Bonferroni), so that the draw that is best in truth is among them. Of single
    values nothing is shown: there all draws are as good.

    Args:
        rows: one row per model, without baseline rows.
        metric: the numeric column, of which more is better.
        fields: columns that were drawn.
        most: draws of each configuration and ratio.
        roles: of the key columns; its other factors are configurations.

    Returns:
        The other factors, `along`, the fields, then `metric, n` (replicates), `mean, low, high` (Student's 95%
        interval; NaN of one value), `draws` (in all), `as_good`.

    Raises:
        ValueError: a column is missing, or unfit.
    """
    check_measured(rows, metric, roles)
    others = [name for name in roles.factors if name not in fields]
    columns = [*others, roles.along, *fields, "metric", "n", "mean", "low", "high", "draws", "as_good"]
    check_apart(columns)
    lines: list[dict[str, Any]] = []
    given = rows.assign(**{metric: finite(rows[metric])}).dropna(subset=[metric])
    for keys, cell in given.groupby([*others, roles.along], sort=True, dropna=False):
        place = dict(zip([*others, roles.along], keys, strict=True)) | {"metric": metric}
        draws = cell.groupby(fields, sort=True, dropna=False)[metric].agg(n="count", mean="mean", sd="std")
        half = stats.t.ppf((1 + CONFIDENCE) / 2, draws["n"] - 1) * draws["sd"] / np.sqrt(draws["n"])
        draws = draws.assign(low=draws["mean"] - half, high=draws["mean"] + half).drop(columns="sd").reset_index()
        best = draws.sort_values(["n", "mean"], ascending=False, kind="stable")
        counted = {"draws": len(best), "as_good": _as_good(cell, metric, fields, roles.replicate)}
        lines += [place | line | counted for line in best.head(most).to_dict("records")]
    return pd.DataFrame(lines, columns=columns)


def _as_good(cell: pd.DataFrame, metric: str, fields: list[str], replicate: str) -> int:
    """Return how many draws are not shown to be worse than the best one, itself among them."""
    draw = cell.groupby(fields, sort=True, dropna=False).ngroup().rename("draw")
    table = cell.groupby([draw, replicate])[metric].mean().unstack()
    several = table[table.notna().sum(axis=1) > 1]
    several = several.loc[:, several.notna().any()]
    values = int(several.notna().to_numpy().sum())
    df = values - sum(several.shape) + 1
    if several.empty or df < 1:
        return len(table)
    rest = several
    for _ in range(SWEEPS):  # once is enough where every draw has every replicate
        rest = rest.sub(rest.mean(axis=1), axis=0)
        rest = rest - rest.mean()
    variance = float(np.nansum(np.square(rest.to_numpy()))) / df
    most = table.notna().sum(axis=1)
    best = table.loc[table[most == most.max()].mean(axis=1).idxmax()]
    lead = table.rsub(best, axis=1)
    shared = lead.notna().sum(axis=1)
    least = stats.t.isf((1 - CONFIDENCE) / (len(table) - 1), df) * np.sqrt(2 * variance / shared)
    worse = (shared > 0) & (lead.mean(axis=1) > least)
    return int((~worse).sum())
