"""Two factors at once: their main effects and their interaction, at each ratio or with the ratio as one of the two.

Contrasts of single levels are in `analysis.py`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from scipy.linalg import helmert

from sweeps.statistics.analysis import holm
from sweeps.statistics.arrays.assumptions import doubts_of_differences, not_normal, variances_differ
from sweeps.statistics.cells import check_rows, finite, nearest
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values, constant

TESTS: dict[Design, str] = {
    "paired": "repeated-measures two-way ANOVA, Greenhouse-Geisser",
    "independent": "two-way ANOVA, type III",
}
_RESULTS = ("statistic", "df", "df_error", "p_value", "partial_eta_squared")

Result = dict[str, Any]


def two_way(
    rows: pd.DataFrame,
    *,
    metric: str,
    factors: tuple[str, str],
    design: Design = "paired",
    roles: Roles,
) -> pd.DataFrame:
    """Test the main effects of two factors and their interaction, the other factors and the ratio fixed.

    The ratio may be one of the two. Each analysis gives three lines; analyses are ordered by the levels that they fix.
    Every level of one factor must have runs at every level of the other; levels are left out until that is so, the
    one with the most empty cells first, and `note` says which.

    `independent` is the ANOVA with type III sums of squares under sum-to-zero coding. Where failed runs leave unequal
    counts, it asks about the plain mean over the levels of the other factor, whatever the counts and whether or not
    there is an interaction; type II would weight these means by accident. With equal counts all types agree.

    `paired` is the repeated-measures ANOVA on complete blocks, every replicate having one value in each cell: each
    effect is compared with its own interaction with blocks, as statsmodels' AnovaRM does. An effect of several degrees
    of freedom also assumes sphericity, which ratios never have (what is pruned harder varies less), so both degrees of
    freedom are multiplied by Greenhouse and Geisser's epsilon (1959, Psychometrika 24); it is 1 for two by two levels.

    `partial_eta_squared` is the share of an effect in the sum of squares of effect and error (Cohen 1973, Educational
    and Psychological Measurement 33), from 0 to 1; in few runs it is too large on average. `p_holm` corrects for asking
    the same question at each ratio.

    Args:
        rows: one row per model, without baseline rows.
        metric: the numeric column to explain.
        factors: two axes, neither of them the replicate's.
        design: `paired` or `independent`.
        roles: of the key columns.

    Returns:
        Columns `effect` (`a`, `b`, `a:b`), the factors and `along` (empty for the two that vary), then `metric, design,
        n, statistic, df, df_error, p_value, p_holm, partial_eta_squared, test, note`; `n` counts
        the values tested. `p_value` is that of the F distribution with `df` and `df_error`.

    Raises:
        ValueError: a column is missing or unfit, or there are no such two factors.
    """
    check_rows(rows, metric=metric, roles=roles)
    axes = [*roles.factors, roles.along]
    for factor in factors:
        if factor not in axes:
            raise ValueError(f"{factor!r} is no factor; {nearest(factor, axes)}")
    if factors[0] == factors[1]:
        raise ValueError(f"found {factors[0]!r} twice, expected two factors")
    effects = (*factors, ":".join(factors))
    lines: list[Result] = []
    for fixed, runs in _analyses(rows, metric=metric, factors=factors, roles=roles):
        found = _paired(runs, roles) if design == "paired" else _independent(runs, roles)
        keys = fixed | {"metric": metric, "design": design, "test": TESTS[design]}
        lines += [{"effect": effect} | keys | result for effect, result in zip(effects, found, strict=True)]
    columns = ["effect", *axes, "metric", "design", "n", "statistic", "df", "df_error", "p_value", "p_holm"]
    table = pd.DataFrame(lines, columns=[*columns, "partial_eta_squared", "test", "note"])
    question = ["effect", *(axis for axis in roles.factors if axis not in factors)]
    for _, family in table.groupby(question, sort=False):
        table.loc[family.index, "p_holm"] = holm(family["p_value"].tolist())
    return table


class _Runs(NamedTuple):
    """The values of one analysis.

    Attributes:
        factors: their names.
        levels: of each, in order.
        table: a line per replicate, a column per combination of levels, those of the second factor side by side; NaN
            where there is no finite value.
    """

    factors: tuple[str, str]
    levels: tuple[list[Any], list[Any]]
    table: pd.DataFrame


def _analyses(
    rows: pd.DataFrame, *, metric: str, factors: tuple[str, str], roles: Roles
) -> Iterator[tuple[dict[str, Any], _Runs]]:
    """Yield what is fixed, and the values, wherever both factors have two levels."""
    others = [axis for axis in (*roles.factors, roles.along) if axis not in factors]
    values = rows.assign(**{metric: finite(rows[metric])})
    for fixed, group in values.groupby(others) if others else [((), values)]:
        first, second = (sorted(set(group[factor])) for factor in factors)
        if min(len(first), len(second)) >= 2:
            table = group.pivot(index=roles.replicate, columns=list(factors), values=metric)
            table = table.reindex(columns=pd.MultiIndex.from_product([first, second]))
            varying = {factor: np.nan if factor == roles.along else "" for factor in factors}
            yield varying | dict(zip(others, fixed, strict=True)), _Runs(factors, (first, second), table)


def _crossed(runs: _Runs) -> tuple[_Runs, list[str], str]:
    """Leave out levels until no combination is without values; say which, and why nothing can be tested, if so."""
    shape = tuple(map(len, runs.levels))
    empty = runs.table.isna().all().to_numpy().reshape(shape)
    left = tuple(list(range(count)) for count in shape)
    notes: list[str] = []
    while (gaps := empty[np.ix_(*left)]).any():
        shares = {
            (axis, place): share
            for axis in (0, 1)
            if len(left[axis]) > 2
            for place, share in enumerate(gaps.mean(axis=1 - axis))
        }
        if not shares:
            first = [runs.levels[axis][left[axis][places[0]]] for axis, places in enumerate(gaps.nonzero())]
            return runs, notes, f"there are no values of {first[0]} with {first[1]}"
        axis, place = max(shares, key=lambda candidate: shares[candidate])
        level = runs.levels[axis][left[axis].pop(place)]
        notes.append(f"left out {runs.factors[axis]} {level}, without values at every {runs.factors[1 - axis]}")
    columns = np.arange(empty.size).reshape(shape)[np.ix_(*left)].ravel()
    first_levels, second_levels = ([runs.levels[axis][place] for place in left[axis]] for axis in (0, 1))
    return _Runs(runs.factors, (first_levels, second_levels), runs.table.iloc[:, columns]), notes, ""


def _not_tested(why: str, notes: list[str], *, n: int) -> list[Result]:
    note = "; ".join([*notes, f"not tested: {why}"])
    return [dict.fromkeys(_RESULTS, np.nan) | {"n": n, "note": note}] * 3


def _paired(runs: _Runs, roles: Roles) -> list[Result]:
    """The repeated-measures analysis; an effect is a set of orthonormal contrasts of the values of a block."""
    left, notes, reason = _crossed(runs)
    blocks = left.table.dropna()
    dropped = left.table.index.difference(blocks.index)
    if len(dropped):
        names = ", ".join(map(str, dropped))
        notes.append(f"dropped {roles.replicate} {names} without a value in every cell")
    if not reason and len(blocks) < 2:
        reason = f"{len(blocks)} complete blocks, a test needs 2"
    if reason:
        return _not_tested(reason, notes, n=blocks.size)
    values = blocks.to_numpy()
    a, b = map(len, left.levels)
    mean_a, mean_b = np.full((1, a), a**-0.5), np.full((1, b), b**-0.5)
    effects = [(helmert(a), mean_b), (mean_a, helmert(b)), (helmert(a), helmert(b))]
    return [_effect_in_blocks(values, values @ np.kron(*effect).T, notes) for effect in effects]


def _effect_in_blocks(values: Values, scores: Values, notes: list[str]) -> Result:
    """Test that contrasts, shape (blocks, k), have mean zero."""
    blocks, k = scores.shape
    deviations = scores - scores.mean(axis=0)
    if constant(deviations, like=(values,)):
        return _not_tested("the differences do not vary", notes, n=values.size)[0]
    effect = blocks * float(np.square(scores.mean(axis=0)).sum())
    error = float(np.square(deviations).sum())
    covariance = deviations.T @ deviations / error  # of trace one
    epsilon = 1 / (k * float(np.square(covariance).sum()))
    f, df, df_error = effect / error * (blocks - 1), epsilon * k, epsilon * k * (blocks - 1)
    return {
        "n": values.size,
        "statistic": f,
        "df": df,
        "df_error": df_error,
        "p_value": stats.f.sf(f, df, df_error),
        "partial_eta_squared": effect / (effect + error),
        "note": "; ".join([*notes, *doubts_of_differences(scores)]),
    }


def _independent(runs: _Runs, roles: Roles) -> list[Result]:
    """The analysis of variance of all values."""
    # Takes two seconds, which other commands should not wait for.
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    left, notes, reason = _crossed(runs)
    if roles.along in left.factors:
        notes.append(
            f"values of one {roles.replicate} are taken as independent, which models of one checkpoint are not"
        )
    cells = [cell.dropna().to_numpy() for _, cell in left.table.items()]
    n = sum(map(len, cells))
    if not reason and n <= len(cells):
        reason = f"{n} values in {len(cells)} cells leave none to estimate the error"
    if not reason and all(constant(cell, like=tuple(cells)) for cell in cells):
        reason = "no cell varies"
    if reason:
        return _not_tested(reason, notes, n=n)
    places = np.repeat(np.arange(len(cells)), [len(cell) for cell in cells])
    columns = len(left.levels[1])
    table = pd.DataFrame({"a": places // columns, "b": places % columns, "value": np.concatenate(cells)})
    model = ols("value ~ C(a, Sum) * C(b, Sum)", table).fit()
    anova = anova_lm(model, typ=3)
    error = anova.loc["Residual"]
    unequal = variances_differ(cells)
    robust = anova_lm(model, typ=3, robust="hc3") if unequal else anova
    skewed = not_normal(cells)
    return [
        {
            "n": n,
            "statistic": anova.loc[term, "F"],
            "df": anova.loc[term, "df"],
            "df_error": error["df"],
            "p_value": anova.loc[term, "PR(>F)"],
            "partial_eta_squared": anova.loc[term, "sum_sq"] / (anova.loc[term, "sum_sq"] + error["sum_sq"]),
            "note": "; ".join(
                [*notes]
                + ([f"{unequal}: HC3 p={robust.loc[term, 'PR(>F)']:.3g}"] if unequal else [])
                + ([skewed] if skewed else [])
            ),
        }
        for term in ("C(a, Sum)", "C(b, Sum)", "C(a, Sum):C(b, Sum)")
    ]
