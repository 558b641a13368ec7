"""Hypothesis tests on the rows of a sweep: which levels of a factor differ, at which ratio.

Pure computation on a DataFrame with one row per pruned model. Tables and pictures for people are in
`reporting`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from sweeps.statistics.arrays.assumptions import doubts
from sweeps.statistics.arrays.effect_size import hedges_g
from sweeps.statistics.cells import Pair, questions
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values, samples, t_test, untestable

ALPHA = 0.05

TESTS: dict[Design, str] = {"paired": "repeated-measures one-way ANOVA", "independent": "one-way ANOVA"}
_RESULTS = ("statistic", "p_value", "effect_size", "effect_low", "effect_high")


def contrasts(
    rows: pd.DataFrame,
    *,
    metric: str,
    design: Design = "paired",
    roles: Roles,
) -> pd.DataFrame:
    """Compare every two levels of one factor, the other factors fixed, at each ratio.

    Factors are the axes that are neither repeated over nor run along. A contrast is made where both levels have rows,
    with one line per ratio at which either has some. Levels are in sorted order, `level_a` before `level_b`;
    lines are ordered by factor, fixed levels, pair of levels, ratio.

    `independent` is the one-way ANOVA, whose F for two levels is t² of the t test. `paired` treats every replicate as
    a block, for models that share a checkpoint: on the blocks complete in both levels, the repeated-measures one-way
    ANOVA, whose F is t² of the paired t test. Means, standard deviations (of the sample) and counts are those of the
    values tested, and `note` says what was dropped. A test that cannot be made has a NaN p-value and the reason in
    `note`. Where an assumption of the test is in doubt, `note` says so, with robust tests beside it (see
    `assumptions.py`).

    `effect_size` is Hedges' g (see `effect_size.py`), positive where `level_a` is larger, in units of the
    pooled standard deviation (`paired`: of that of the differences).

    `p_holm` holds the family-wise error rate of one question, "does this factor matter, these others
    fixed?", at its nominal level: its family is every pair of levels at every ratio, so that neither looking
    at nine ratios nor trying many levels makes a finding more likely. Holm's step-down (1979, Scandinavian
    Journal of Statistics 6) needs no independence, which tests at ratios pruned from one checkpoint lack.

    Args:
        rows: one row per model, without baseline rows.
        metric: the numeric column to compare.
        design: `paired` or `independent`.
        roles: of the key columns.

    Returns:
        Columns `factor, level_a, level_b`, the factors (empty for the one that varies), `along`, then
        `metric, design, n_a, n_b, mean_a, mean_b, sd_a, sd_b, statistic, p_value, p_holm, effect_size,
        effect_low, effect_high, test, note`.

    Raises:
        ValueError: a key or metric column is missing or unfit, or a key occurs twice.
    """
    lines: list[dict[str, Any]] = []
    for pairs in questions(rows, metric=metric, roles=roles):
        family = [_compare(pair, design=design, replicate=roles.replicate) for pair in pairs]
        corrected = holm([line["p_value"] for line in family])
        lines += [
            pair.keys | {"metric": metric, "design": design, "test": TESTS[design]} | line | {"p_holm": p}
            for pair, line, p in zip(pairs, family, corrected, strict=True)
        ]
    columns = ["factor", "level_a", "level_b", *roles.factors, roles.along, "metric", "design", "n_a", "n_b"]
    columns += ["mean_a", "mean_b", "sd_a", "sd_b", "statistic", "p_value", "p_holm"]
    columns += ["effect_size", "effect_low", "effect_high", "test", "note"]
    return pd.DataFrame(lines, columns=columns)


def holm(p_values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Holm-corrected p-values of one family, in the order given; NaN, a test not made, does not count."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")[: np.isfinite(p).sum()]
    corrected = np.full(p.shape, np.nan)
    steps = np.arange(len(order), 0, -1) * p[order]
    corrected[order] = np.maximum.accumulate(steps).clip(max=1.0)
    return corrected


class _Test(NamedTuple):
    statistic: float
    p_value: float
    t: float
    df: int
    n_effective: float


def _compare(pair: Pair, *, design: Design, replicate: str) -> dict[str, Any]:
    """One line of a contrast: sizes, means, the test and its effect size, or why there is none."""
    a, b, notes = samples(pair, design=design, replicate=replicate)
    line = dict.fromkeys(_RESULTS, np.nan) | describe(a, b)
    reason = untestable(a, b, design=design)
    if reason:
        notes.append(f"not tested: {reason}")
    else:
        test = _paired(a, b) if design == "paired" else _independent(a, b)
        line |= {"statistic": test.statistic, "p_value": test.p_value}
        if test.df >= 2:
            effect = hedges_g(test.t, df=test.df, n_effective=test.n_effective)
            line |= {"effect_size": effect.g, "effect_low": effect.low, "effect_high": effect.high}
        else:
            notes.append("no effect size: 2 complete blocks, it needs 3")
        notes += doubts(a, b, design=design)
    return line | {"note": "; ".join(notes)}


def describe(a: Values, b: Values) -> dict[str, Any]:
    """Return `n_a, n_b, mean_a, mean_b, sd_a, sd_b`, NaN where there are too few values."""
    first, second = pd.Series(a, dtype=float), pd.Series(b, dtype=float)
    sizes = {"n_a": len(a), "n_b": len(b), "mean_a": first.mean(), "mean_b": second.mean()}
    return sizes | {"sd_a": first.std(), "sd_b": second.std()}


def _paired(a: Values, b: Values) -> _Test:
    t, p = stats.ttest_rel(a, b)
    return _Test(statistic=t**2, p_value=p, t=t, df=len(a) - 1, n_effective=len(a))


def _independent(a: Values, b: Values) -> _Test:
    t, p = t_test(a, b)
    n_effective = len(a) * len(b) / (len(a) + len(b))
    return _Test(statistic=t**2, p_value=p, t=t, df=len(a) + len(b) - 2, n_effective=n_effective)
