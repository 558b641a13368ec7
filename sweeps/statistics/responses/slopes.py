"""Does a metric rise or fall along a numeric axis, such as an attack's ε? A slope per configuration, tested."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from sweeps.statistics.analysis import CONFIDENCE
from sweeps.statistics.arrays.assumptions import doubts_of_differences
from sweeps.statistics.cells import check_apart, check_rows, finite, nearest
from sweeps.statistics.marks import FLOOR, Floor, holm, mark
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values, constant

_RESULTS = ("slope", "slope_low", "slope_high", "statistic", "df", "p_value")


def test_name(design: Design) -> str:
    """Return what the test of a slope is called."""
    if design == "paired":
        return "t test of the slopes of replicates"
    return "t test of the slope of all values, with errors by MacKinnon and White (HC3)"


def slopes(
    rows: pd.DataFrame,
    *,
    metric: str,
    factor: str,
    design: Design = "paired",
    floor: Floor = FLOOR,
    roles: Roles,
) -> pd.DataFrame:
    """Test of every configuration, at each ratio, whether a metric has a slope along a numeric factor.

    A line is fitted by least squares. It says whether the metric rises or falls on the whole, and nothing of its shape:
    a metric that rises and falls again has none.

    `paired`: to each replicate that has a value at every level, a line of its own; their slopes are tested against 0 by
    Student's t test, which takes replicates for the units, whatever hangs together within one (summary measures,
    Matthews et al. 1990, BMJ 300). `independent`: one line to all values, with standard errors that hold where the
    spread differs between levels (HC3: MacKinnon and White 1985, Journal of Econometrics 29).

    `p_holm` is corrected over all lines of this table: they are one question.

    Args:
        rows: one row per model, without baseline rows.
        metric: the numeric column.
        factor: one of the factors, of numbers. Rows without a value, to which it does not matter, are left out.
        design: `paired` or `independent`.
        floor: below which no slope is starred.
        roles: of the key columns.

    Returns:
        Columns `factor`, the other factors, `along`, then `metric, design, n, levels, slope, slope_low, slope_high,
        statistic, df, p_value, p_holm, mark, test, note`. `n` counts replicates (`independent`: values); slopes are in
        the metric's unit for each unit of the factor, with their 95% interval.

    Raises:
        ValueError: there is no such factor, or it is not of numbers, or a column is unfit.
    """
    check_factor(rows, factor, roles)
    given = rows[rows[factor].notna()]
    check_rows(given, metric=metric, roles=roles)
    others = [name for name in roles.factors if name != factor]
    lowest = floor.of(given, metric=metric, roles=roles)
    same = {"metric": metric, "design": design, "test": test_name(design)}
    lines: list[dict[str, Any]] = []
    means: list[list[float]] = []
    for keys, cell in given.groupby([*others, roles.along], sort=True, dropna=False):
        if cell[factor].nunique() < 2:
            continue
        values = cell.assign(**{metric: finite(cell[metric])}).pivot(
            index=roles.replicate, columns=factor, values=metric
        )
        found = _paired(values, roles.replicate) if design == "paired" else _independent(values)
        lines.append({"factor": factor} | dict(zip([*others, roles.along], keys, strict=True)) | same | found)
        means.append(values.mean().dropna().tolist())
    corrected = holm([line["p_value"] for line in lines])
    for line, p_holm, each in zip(lines, corrected, means, strict=True):
        star, why_not = mark(p_holm, fewest=line["n"], means=each or [0.0], floor=lowest)
        line["note"] = "; ".join(filter(None, [line["note"], why_not]))
        line |= {"p_holm": p_holm, "mark": star}
    columns = ["factor", *others, roles.along, "metric", "design", "n", "levels", "slope", "slope_low", "slope_high"]
    columns += ["statistic", "df", "p_value", "p_holm", "mark", "test", "note"]
    check_apart(columns)
    return pd.DataFrame(lines, columns=columns)


def check_factor(rows: pd.DataFrame, factor: str, roles: Roles) -> None:
    """Raise `ValueError` unless there is a factor of that name, of numbers."""
    if factor not in roles.factors:
        raise ValueError(f"{factor!r} is none of the factors; {nearest(factor, roles.factors)}")
    if pd.api.types.is_bool_dtype(rows[factor]) or not pd.api.types.is_numeric_dtype(rows[factor].dropna()):
        raise ValueError(f"{factor!r} is not of numbers, along which alone there is a slope")


def _paired(values: pd.DataFrame, replicate: str) -> dict[str, Any]:
    """Return the test on the slope of each replicate; `values` has a line per replicate and a column per level."""
    whole = values.dropna()
    lost = ", ".join(str(name) for name in values.index.difference(whole.index))
    notes = [f"dropped {replicate} {lost} without a value at every level"] if lost else []
    at = values.columns.to_numpy(dtype=float)
    centred = at - at.mean()
    each: Values = whole.to_numpy(dtype=float) @ centred / np.square(centred).sum()
    line: dict[str, Any] = dict.fromkeys(_RESULTS, np.nan) | {"n": len(each), "levels": len(at)}
    if len(each):
        line["slope"] = float(each.mean())
    if len(each) < 2:
        notes.append(f"not tested: {len(each)} whole {replicate}s, a test needs 2")
    elif constant(each, like=(each, whole.to_numpy(dtype=float) / np.ptp(at))):
        notes.append("not tested: the slopes do not vary")
    else:
        test = stats.ttest_1samp(each, 0.0)
        low, high = test.confidence_interval(CONFIDENCE)
        line |= {"slope_low": float(low), "slope_high": float(high), "statistic": float(test.statistic)}
        line |= {"df": float(test.df), "p_value": float(test.pvalue)}
        notes += doubts_of_differences(each[:, None])
    return line | {"note": "; ".join(notes)}


def _independent(values: pd.DataFrame) -> dict[str, Any]:
    """Return the test on the slope of the line through all values."""
    long = values.melt(value_name="value", var_name="at").dropna()
    at, metric = long["at"].to_numpy(dtype=float), long["value"].to_numpy(dtype=float)
    line: dict[str, Any] = dict.fromkeys(_RESULTS, np.nan) | {"n": len(metric), "levels": int(long["at"].nunique())}
    if line["levels"] < 2 or len(metric) < 3:
        return line | {"note": f"not tested: {len(metric)} values at {line['levels']} levels, a test needs 3 at 2"}
    import statsmodels.api as sm

    # In units of the levels' spread: a factor of 1e-5 must not be lost in rounding.
    centre, scale = at.mean(), np.ptp(at)
    fit = sm.OLS(metric, sm.add_constant((at - centre) / scale)).fit()
    line["slope"] = float(fit.params[1]) / scale
    if constant(fit.resid, like=(metric,)):
        return line | {"note": "not tested: the values at a level do not vary"}
    robust = fit.get_robustcov_results(cov_type="HC3", use_t=True)
    low, high = robust.conf_int(1 - CONFIDENCE)[1] / scale
    line |= {"slope_low": float(low), "slope_high": float(high), "statistic": float(robust.tvalues[1])}
    return line | {"df": float(robust.df_resid), "p_value": float(robust.pvalues[1]), "note": ""}
