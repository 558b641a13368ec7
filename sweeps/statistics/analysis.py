"""Hypothesis tests on the rows of a sweep: which levels of a factor differ, at which ratio.

Pure computation on a DataFrame with one row per pruned model. Tables and pictures for people are in
`reporting`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sweeps.statistics.arrays.assumptions import doubts
from sweeps.statistics.arrays.effect_size import hedges_g
from sweeps.statistics.arrays.t_tests import t_test
from sweeps.statistics.cells import Pair, check_apart, check_rows, questions
from sweeps.statistics.marks import FLOOR, Floor, holm, mark
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values, samples, untestable

CONFIDENCE = 0.95
"""Of the interval of a difference of means."""

_RESULTS = ("difference_low", "difference_high", "statistic", "p_value", "effect_size", "effect_low", "effect_high")


def test_name(design: Design, *, classical: bool) -> str:
    """Return what the test of two levels is called."""
    if design == "paired":
        return "repeated-measures one-way ANOVA"
    return "one-way ANOVA" if classical else "Welch's one-way ANOVA"


def contrasts(
    rows: pd.DataFrame,
    *,
    metric: str,
    design: Design = "paired",
    classical: bool = False,
    floor: Floor = FLOOR,
    roles: Roles,
) -> pd.DataFrame:
    """Compare every two levels of one factor, the other factors fixed, at each ratio.

    Factors are the axes that are neither repeated over nor run along. A contrast is made where both levels have rows,
    with one line per ratio at which either has some. Levels are in sorted order, `level_a` before `level_b`;
    lines are ordered by factor, fixed levels, pair of levels, ratio.

    `independent` is Welch's one-way ANOVA (1951, Biometrika 38), whose F for two levels is t² of his t test;
    `classical` the one with a variance for all, which is for the reproduction of published tables: its type I error
    is up to twice the nominal one where standard deviations differ. `paired` treats every replicate as
    a block, for models that share a checkpoint: on the blocks complete in both levels, the repeated-measures one-way
    ANOVA, whose F is t² of the paired t test. Means, standard deviations (of the sample) and counts are those of the
    values tested, and `note` says what was dropped. A test that cannot be made has a NaN p-value and the reason in
    `note`, among them levels that do not vary between replicates. Where an assumption of the test is in doubt, `note`
    says so, with robust tests beside it, and where it cannot be checked (see `arrays/assumptions.py`).

    `difference` is of the means, a less b, in the metric's unit, with its 95% interval. `effect_size` is Hedges' g
    (see `arrays/effect_size.py`), positive where `level_a` is larger, in units of the
    standard deviation, that of the mean of both variances (`paired`: of that of the differences).

    `p_holm` holds the family-wise error rate of one question, "does this factor matter, these others
    fixed?", at its nominal level: its family is every pair of levels at every ratio, so that neither looking
    at nine ratios nor trying many levels makes a finding more likely. Holm's step-down (1979, Scandinavian
    Journal of Statistics 6) needs no independence, which tests at ratios pruned from one checkpoint lack.

    `mark` is what tables show beside it (see `marks.py`): `*` where `p_holm` is below 0.05, but `?` of fewer than five
    values, whose assumptions cannot be checked, and nothing where both means lie at the floor.

    Args:
        rows: one row per model, without baseline rows.
        metric: the numeric column to compare.
        design: `paired` or `independent`.
        classical: one variance for both groups; of the independent design only.
        floor: below which no difference is starred.
        roles: of the key columns.

    Returns:
        Columns `factor, level_a, level_b`, the factors (empty for the one that varies), `along`, then
        `metric, design, n_a, n_b, mean_a, mean_b, sd_a, sd_b, difference, difference_low, difference_high, statistic,
        p_value, p_holm, mark, effect_size, effect_low, effect_high, test, note`.

    Raises:
        ValueError: a key or metric column is missing or unfit, or a key occurs twice.
    """
    check_rows(rows, metric=metric, roles=roles)
    families = questions(rows, metric=metric, roles=roles)
    lowest = floor.of(rows, metric=metric, roles=roles)
    return compared(families, metric=metric, design=design, classical=classical, floor=lowest, roles=roles)


def compared(
    families: Iterable[Sequence[Pair]], *, metric: str, design: Design, classical: bool, floor: float, roles: Roles
) -> pd.DataFrame:
    """Return the lines of `contrasts` for families of pairs; `floor` is in the metric's unit."""
    lines: list[dict[str, Any]] = []
    same = {"metric": metric, "design": design, "test": test_name(design, classical=classical)}
    for pairs in families:
        family = [_compare(pair, design=design, classical=classical, replicate=roles.replicate) for pair in pairs]
        corrected = holm([line["p_value"] for line in family])
        for pair, line, p_holm in zip(pairs, family, corrected, strict=True):
            means, fewest = [line["mean_a"], line["mean_b"]], min(line["n_a"], line["n_b"])
            star, why_not = mark(p_holm, fewest=fewest, means=means, floor=floor)
            line["note"] = "; ".join(filter(None, [line["note"], why_not]))
            lines.append(pair.keys | same | line | {"p_holm": p_holm, "mark": star})
    columns = ["factor", "level_a", "level_b", *roles.factors, roles.along, "metric", "design", "n_a", "n_b"]
    columns += ["mean_a", "mean_b", "sd_a", "sd_b", "difference", "difference_low", "difference_high"]
    columns += ["statistic", "p_value", "p_holm", "mark", "effect_size", "effect_low", "effect_high", "test", "note"]
    check_apart(columns)
    return pd.DataFrame(lines, columns=columns)


def _compare(pair: Pair, *, design: Design, classical: bool, replicate: str) -> dict[str, Any]:
    """One line of a contrast: sizes, means, the test and its effect size, or why there is none."""
    a, b, notes = samples(pair, design=design, replicate=replicate)
    line = dict.fromkeys(_RESULTS, np.nan) | describe(a, b)
    line["difference"] = line["mean_a"] - line["mean_b"]
    reason = untestable(a, b, design=design, names=(pair.keys["level_a"], pair.keys["level_b"]))
    if reason:
        notes.append(f"not tested: {reason}")
    else:
        test = t_test(a, b, design=design, classical=classical)
        low, high = test.interval(CONFIDENCE)
        line |= {"difference_low": float(low), "difference_high": float(high)}
        line |= {"statistic": float(test.t) ** 2, "p_value": float(test.p)}
        if test.df >= 2 and min(len(a), len(b)) > 2 - classical:
            effect = hedges_g(test.t, df=test.df, n_effective=test.n_effective)
            line |= {"effect_size": float(effect.g), "effect_low": float(effect.low), "effect_high": float(effect.high)}
        else:
            found = "2 complete blocks" if design == "paired" else f"groups of {len(a)} and {len(b)}"
            notes.append(f"no effect size: {found}, it needs 3")
        notes += doubts(a, b, design=design, classical=classical)
    return line | {"note": "; ".join(notes)}


def describe(a: Values, b: Values) -> dict[str, Any]:
    """Return `n_a, n_b, mean_a, mean_b, sd_a, sd_b`, NaN where there are too few values."""
    first, second = pd.Series(a, dtype=float), pd.Series(b, dtype=float)
    sizes = {"n_a": len(a), "n_b": len(b), "mean_a": first.mean(), "mean_b": second.mean()}
    return sizes | {"sd_a": first.std(), "sd_b": second.std()}
