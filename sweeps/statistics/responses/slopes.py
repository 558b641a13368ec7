"""Whether a metric changes along an axis of numbers: the slope of each configuration, and its test."""

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from sweeps.statistics.analysis import CONFIDENCE
from sweeps.statistics.cells import Levels, check_apart, check_rows, configurations, finite
from sweeps.statistics.marks import FLOOR, Floor, holm, mark
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values, constant

TESTS: dict[Design, str] = {
    "paired": "t test of the replicates' slopes",
    "independent": "t test of the slope of a line through all values, each place with a variance of its own (Welch; "
    "HC3 where a place has one value)",
}


class Slope(NamedTuple):
    """A slope in the metric's unit per unit of the axis, with its standard error and the degrees of freedom of it."""

    slope: float
    error: float
    df: float
    n: int


def slopes(
    rows: pd.DataFrame, *, metric: str, design: Design = "paired", floor: Floor = FLOOR, roles: Roles
) -> pd.DataFrame:
    """Test for each configuration whether a straight line through the metric along the axis rises or falls.

    `paired`: rows of one replicate share a checkpoint, so that each replicate has a slope, by least squares, and what
    is tested is the mean of these (Matthews et al. 1990, BMJ 300: summary measures); a replicate that has not a value
    at each place is dropped, and `note` says so. `independent`: one line by least squares through all values: a
    weighted sum of the places' means, each with a variance of its own, and Satterthwaite's degrees of freedom, which is
    Welch's test where there are two places. Where a place has one value, the error is HC3 (MacKinnon and White 1985,
    Journal of Econometrics 29), which errs in up to .07 where the spread grows towards places far from the others. A
    slope says nothing of a curve that rises and falls. Rows to which the axis does not matter, which are the same at
    all places, are not tested.

    Args:
        rows: one row per model, without baseline rows.
        metric: the numeric column.
        design: `paired` or `independent`.
        floor: below which no slope is starred.
        roles: of the key columns; the line runs along `roles.along`.

    Returns:
        A line per configuration with columns: the factors, `metric, design, n` (slopes, or values), `slope, slope_low,
        slope_high` (95% interval), `statistic` (t²), `df, p_value, p_holm` (Holm's over all configurations), `mark,
        test, note`. A test that cannot be made has a NaN p-value and the reason in `note`.

    Raises:
        ValueError: a key or metric column is missing or unfit, or a key occurs twice.
    """
    check_rows(rows, metric=metric, roles=roles)
    lowest = floor.of(rows, metric=metric, roles=roles)
    lines: list[dict[str, Any]] = []
    sizes: list[tuple[list[float], int]] = []
    for levels, part in _apart(rows, roles):
        values = part.assign(**{metric: finite(part[metric])}).pivot(
            index=roles.replicate, columns=roles.along, values=metric
        )
        if _same_everywhere(part, roles):
            found, notes = None, [f"not tested: {roles.along} does not matter to these rows"]
        else:
            found, notes = _paired(values, roles) if design == "paired" else _independent(values)
        line = dict(zip(roles.factors, levels, strict=True)) | {"metric": metric, "design": design}
        lines.append(line | _tested(found, notes) | {"test": TESTS[design]})
        sizes.append((values.mean().dropna().tolist(), found.n if found else 0))
    for line, p_holm, (means, n) in zip(lines, holm([line["p_value"] for line in lines]), sizes, strict=True):
        star, why_not = mark(p_holm, fewest=n, means=means, floor=lowest)
        line |= {"p_holm": p_holm, "mark": star, "note": "; ".join(filter(None, [line["note"], why_not]))}
    columns = [*roles.factors, "metric", "design", "n", "slope", "slope_low", "slope_high", "statistic", "df"]
    columns += ["p_value", "p_holm", "mark", "test", "note"]
    check_apart(columns)
    return pd.DataFrame(lines, columns=columns)


def _apart(rows: pd.DataFrame, roles: Roles) -> Iterator[tuple[Levels, pd.DataFrame]]:
    """Yield the rows of each configuration; those that are the same rows once, without the levels that differ."""
    alike: dict[Hashable, list[tuple[Levels, pd.DataFrame]]] = {}
    for levels, part in configurations(rows, roles):
        known = roles.identity is not None and roles.identity in part
        alike.setdefault(frozenset(part[roles.identity]) if known else levels, []).append((levels, part))
    for same in alike.values():
        common = [{levels[place] for levels, _ in same} for place in range(len(roles.factors))]
        yield tuple(next(iter(each)) if len(each) == 1 else "" for each in common), same[0][1]


def _same_everywhere(part: pd.DataFrame, roles: Roles) -> bool:
    """Say whether there are several places, and each replicate's rows at them are one row that stands for all."""
    if roles.identity is None or roles.identity not in part or part[roles.along].nunique() < 2:
        return False
    return bool(part.groupby(roles.replicate)[roles.identity].nunique().max() == 1)


def _paired(values: pd.DataFrame, roles: Roles) -> tuple[Slope | None, list[str]]:
    """Return the mean of the slopes of replicates, and what is to be noted."""
    incomplete = values.index[values.isna().any(axis=1)]
    dropped = ", ".join(map(str, incomplete))
    notes = [f"dropped {roles.replicate} {dropped} without a value at each {roles.along}"] if dropped else []
    complete = values.dropna()
    if values.shape[1] < 2 or len(complete) < 2:
        found = f"{len(complete)} complete {roles.replicate}s and {values.shape[1]} values of {roles.along}"
        return None, [*notes, f"not tested: {found}, a test needs 2 of each"]
    each = _least_squares(complete.columns.to_numpy(float), complete.to_numpy(float))
    spread = float(np.ptp(complete.columns.to_numpy(float)))
    if constant(each * spread, like=(complete.to_numpy(float),)):
        return None, [*notes, "not tested: the slopes do not vary"]
    return Slope(float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))), len(each) - 1, len(each)), notes


def _independent(values: pd.DataFrame) -> tuple[Slope | None, list[str]]:
    """Return the slope of a line through all values, and what is to be noted."""
    long = values.melt(value_name="_value").dropna()
    x, y = long[values.columns.name].to_numpy(float), long["_value"].to_numpy(float)
    if len(np.unique(x)) < 2 or len(x) < 3:
        return None, [
            f"not tested: {len(x)} values at {len(np.unique(x))} of {values.columns.name}, a test needs 3 at 2"
        ]
    slope = float(_least_squares(x, y[None])[0])
    centred = x - x.mean()
    weights = centred / np.square(centred).sum()
    groups = [y[x == place] for place in np.unique(x)]
    if min(map(len, groups)) > 1:
        if all(constant(group, like=(y,)) for group in groups):
            return None, ["not tested: the values do not vary at any place"]
        each = pd.Series(np.square(weights)).groupby(x).sum().to_numpy() * [group.var(ddof=1) for group in groups]
        df = each.sum() ** 2 / (np.square(each) / [len(group) - 1 for group in groups]).sum()
        return Slope(slope, float(np.sqrt(each.sum())), float(df), len(x)), []
    residuals = y - y.mean() - slope * centred
    if constant(residuals, like=(y,)):
        return None, ["not tested: the values do not vary around the line"]
    leverage = 1 / len(x) + np.square(centred) / np.square(centred).sum()
    if leverage.max() > 1 - 1e-9:
        return None, ["not tested: one value alone decides the slope"]
    error = np.sqrt(np.square(weights * residuals / (1 - leverage)).sum())
    return Slope(slope, float(error), len(x) - 2, len(x)), []


def _least_squares(x: Values, y: Values) -> Values:
    """Return the slopes of lines; `y` of shape (lines, places)."""
    centred = x - x.mean()
    found: Values = y @ centred / np.square(centred).sum()
    return found


def _tested(found: Slope | None, notes: list[str]) -> dict[str, Any]:
    note = "; ".join(notes)
    if found is None:
        nothing = dict.fromkeys(("slope", "slope_low", "slope_high", "statistic", "df", "p_value"), np.nan)
        return {**nothing, "n": 0, "note": note}
    t, half = found.slope / found.error, float(special.stdtrit(found.df, (1 + CONFIDENCE) / 2)) * found.error
    return {
        "n": found.n,
        "slope": found.slope,
        "slope_low": found.slope - half,
        "slope_high": found.slope + half,
        "statistic": t**2,
        "df": found.df,
        "p_value": float(2 * special.stdtr(found.df, -abs(t))),
        "note": note,
    }
