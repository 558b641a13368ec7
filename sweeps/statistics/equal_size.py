"""Levels compared where another column is equal, such as the size or the speed of a model, instead of the ratio.

Two structures at one ratio are rarely two models of one size: what one of them calls half may be a quarter of what the
other leaves. Comparisons at equal ratio are in `analysis.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator

from sweeps.statistics.analysis import compared
from sweeps.statistics.cells import Pair, check_measured, check_rows, configurations, finite, pairs_of_levels
from sweeps.statistics.marks import FLOOR, Floor
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values

POINTS = 5
"""Values at which two curves are compared, ends included."""


class Curve(NamedTuple):
    """The metric of one trial over the other column: `x` increases, both have shape (points,)."""

    x: Values
    y: Values

    def at(self, x: Values) -> Values:
        """Return the metric there, on a monotone curve through what was measured; `x` lies between its ends."""
        between: Values = PchipInterpolator(self.x, self.y)(np.clip(x, self.x[0], self.x[-1]))
        return between


def at_equal(
    rows: pd.DataFrame,
    *,
    metric: str,
    against: str,
    design: Design = "paired",
    classical: bool = False,
    floor: Floor = FLOOR,
    roles: Roles,
) -> pd.DataFrame:
    """Compare every two levels of one factor, the other factors fixed, at equal values of a column.

    The metric of each trial, a replicate of a configuration, is taken for a curve over the column: through its rows in
    the order of the column, those of equal value averaged, and between two of them monotone, so that nothing is
    invented that lies outside both (Fritsch & Carlson 1980, SIAM Journal on Numerical Analysis 17). Straight lines
    would cut the corners of each curve where its rows happen to lie, which ten trials already take for a difference:
    type I error .09 in `benchmarks/statistics.py`. Two configurations are compared at five values from the
    largest start to the smallest end of all trials of both, in equal proportions where they are positive, else in
    equal steps. There every trial gives one value, and trials are what is tested, as in `analysis.contrasts`: rows
    between which is interpolated make no finding surer.

    Args:
        rows: one row per model, without baseline rows.
        metric: the numeric column to compare.
        against: the numeric column that is to be equal, such as a number of parameters.
        design: `paired` or `independent`.
        classical: one variance for both groups; of the independent design only.
        floor: below which no difference is starred.
        roles: of the key columns.

    Returns:
        The columns of `analysis.contrasts`, with `against` instead of the ratio; NaN where the curves of two levels
        have no value of it in common, which is said in `note`.

    Raises:
        ValueError: a column is missing or unfit, or a key occurs twice.
    """
    check_rows(rows, metric=metric, roles=roles)
    check_measured(rows, against, roles, what="against")
    if against == metric:
        raise ValueError(f"against: found the metric {metric!r} itself, expected another column")
    _check_varies(rows, against)
    families = _families(rows, metric=metric, against=against, roles=roles)
    lowest = floor.of(rows, metric=metric, roles=roles)
    beside = roles_at(against, roles)
    table = compared(families, metric=metric, design=design, classical=classical, floor=lowest, roles=beside)
    nowhere = table[against].isna()
    table.loc[nowhere, "note"] = f"not tested: no value of {against} lies within the curves of both"
    return table


def _check_varies(rows: pd.DataFrame, against: str) -> None:
    values = finite(rows[against]).dropna().unique()
    if len(values) < 2:
        found = f"{values[0]:g} in every row that has one" if len(values) else "no number in any row"
        raise ValueError(f"against {against!r}: found {found}, expected at least two values between which curves run")


def roles_at(against: str, roles: Roles) -> Roles:
    """Return the roles of the columns of `at_equal`, where another column stands in place of the ratio."""
    return replace(roles, axes=(*(axis for axis in roles.axes if axis != roles.along), against), along=against)


def _families(rows: pd.DataFrame, *, metric: str, against: str, roles: Roles) -> Iterator[list[Pair]]:
    points = rows.assign(**{column: finite(rows[column]) for column in (metric, against)})
    curves = {levels: _curves(part, metric, against, roles) for levels, part in configurations(points, roles)}
    for question in pairs_of_levels(rows, roles):
        yield [
            Pair(keys | {against: x}, a, b)
            for keys, one, other in question
            for x, a, b in _compared_at(curves[one], curves[other])
        ]


def _curves(rows: pd.DataFrame, metric: str, against: str, roles: Roles) -> dict[Any, Curve | None]:
    """The curve of every replicate; None where it is a point, or nothing."""
    found: dict[Any, Curve | None] = {}
    for replicate, trial in rows.groupby(roles.replicate):
        measured = trial.dropna(subset=[metric, against]).groupby(against)[metric].mean()
        found[replicate] = Curve(measured.index.to_numpy(), measured.to_numpy()) if len(measured) > 1 else None
    return found


def _compared_at(
    one: dict[Any, Curve | None], other: dict[Any, Curve | None]
) -> Iterator[tuple[float, pd.Series[float], pd.Series[float]]]:
    """Yield each common value with the metric of both, by replicate; once NaN where there is none."""
    places = common([curve for curves in (one, other) for curve in curves.values() if curve is not None])
    if not (len(places) and any(one.values()) and any(other.values())):
        nothing = pd.Series(dtype=float)
        yield np.nan, nothing, nothing
        return
    for x in places:
        a, b = (
            pd.Series({name: np.nan if curve is None else float(curve.at(x)) for name, curve in curves.items()})
            for curves in (one, other)
        )
        yield float(x), a, b


def common(curves: list[Curve]) -> Values:
    """Return the values at which curves are compared, increasing; none where no value lies within all of them."""
    low = max((float(curve.x[0]) for curve in curves), default=np.inf)
    high = min((float(curve.x[-1]) for curve in curves), default=-np.inf)
    if not low < high:
        return np.array([])
    return np.geomspace(low, high, POINTS) if low > 0 else np.linspace(low, high, POINTS)
