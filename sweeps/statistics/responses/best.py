"""The best of many draws, and how sure that is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from sweeps.statistics.analysis import CONFIDENCE
from sweeps.statistics.cells import check_apart, check_measured, finite
from sweeps.statistics.roles import Roles


def best_draws(rows: pd.DataFrame, *, metric: str, fields: list[str], most: int = 5, roles: Roles) -> pd.DataFrame:
    """Return the draws with the highest means of a metric, for every configuration at each ratio.

    The mean of the best of many is too high, since luck has chosen it too: the more so, the more draws there are and
    the wider their intervals. `as_good` counts the draws whose interval reaches the best one's mean.

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
        best = draws.sort_values("mean", ascending=False, kind="stable")
        as_good = int((best["high"].fillna(best["mean"]) >= best["mean"].iloc[0]).sum())
        counted = {"draws": len(best), "as_good": as_good}
        lines += [place | line | counted for line in best.head(most).to_dict("records")]
    return pd.DataFrame(lines, columns=columns)
