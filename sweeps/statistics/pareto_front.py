"""What is given up for what: which means of a sweep are on the Pareto front of two metrics."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from sweeps.statistics.marks import FLOOR, Floor
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


def mean_trade_off(
    rows: pd.DataFrame, *, against: str, metric: str, floor: Floor = FLOOR, roles: Roles
) -> pd.DataFrame:
    """Return the means of each configuration at each ratio, the fastest first.

    Means of `metric` at its floor are not on the front: what was measured is lost there, at whatever speed.

    Args:
        rows: one per model; those without both values are left out.
        against: the metric along the horizontal axis, more is better.
        metric: that along the vertical one, more is better.
        floor: of it, as for stars.
        roles: of the key columns.

    Returns:
        Columns `configuration`, the one `along`, `n`, `against`, `against_sd`, `metric`, `metric_sd`, `at_floor` and
        `on_front`; a standard deviation is the sample's, NaN for one model.
    """
    models = labelled(rows.dropna(subset=[against, metric]), roles.factors)
    by = ["configuration", roles.along]
    columns = {against: "against", metric: "metric"}
    parts = [
        mean_sd(models, metric=column, along=roles.along).rename(columns={"mean": name, "sd": f"{name}_sd"})
        for column, name in columns.items()
    ]
    means = parts[0].merge(parts[1].drop(columns="n"), on=by)
    lowest = floor.of(rows, metric=metric, roles=roles)
    means["at_floor"] = (lowest > 0) & (means["metric"].abs() <= lowest)
    means["on_front"] = pareto_front(means[["against", "metric"]].mask(means["at_floor"]))
    return means.sort_values(["against", "metric"], ascending=False, kind="stable", ignore_index=True)
