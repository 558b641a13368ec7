"""What is given up for what: which means of a sweep are on the Pareto front of two metrics."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from sweeps.statistics.means import labelled, mean_sd
from sweeps.statistics.roles import Roles


def pareto_front(values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which points no other point dominates: is as good in every dimension, and better in one.

    Args:
        values: shape (points, dimensions), more is better; NaN is neither.
    """
    points = np.asarray(values, dtype=float)
    as_good = (points[:, None] >= points[None]).all(axis=2)
    better = (points[:, None] > points[None]).any(axis=2)
    dominated = np.any(as_good & better, axis=0)
    return np.asarray(~(dominated | np.isnan(points).any(axis=1)))


def mean_trade_off(rows: pd.DataFrame, *, against: str, metric: str, roles: Roles) -> pd.DataFrame:
    """Return the means of each configuration at each ratio, the fastest first.

    Args:
        rows: one per model; those without both values are left out.
        against: the metric along the horizontal axis, more is better.
        metric: that along the vertical one, more is better.
        roles: of the key columns.

    Returns:
        Columns `configuration`, the one `along`, `n`, `against`, `against_sd`, `metric`, `metric_sd` and `on_front`; a
        standard deviation is the sample's, NaN for one model.
    """
    models = labelled(rows.dropna(subset=[against, metric]), roles.factors)
    by = ["configuration", roles.along]
    columns = {against: "against", metric: "metric"}
    parts = [
        mean_sd(models, metric=column, along=roles.along).rename(columns={"mean": name, "sd": f"{name}_sd"})
        for column, name in columns.items()
    ]
    means = parts[0].merge(parts[1].drop(columns="n"), on=by)
    means["on_front"] = pareto_front(means[["against", "metric"]])
    return means.sort_values(["against", "metric"], ascending=False, kind="stable", ignore_index=True)
