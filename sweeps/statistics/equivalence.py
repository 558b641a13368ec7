"""Equivalence tests: is the difference of two means smaller than so many percent?

That a test finds no difference does not answer this: it may only have seen too few runs. Tests of whether there is a
difference are in `analysis.py`.
"""

from typing import Any

import numpy as np
import pandas as pd

from sweeps.statistics.analysis import describe
from sweeps.statistics.arrays.assumptions import FEWEST, UNCHECKED, not_normal, variances_differ
from sweeps.statistics.arrays.permutation import sign_flip_p
from sweeps.statistics.arrays.ratio_of_means import ratio_of_means
from sweeps.statistics.cells import Pair, check_apart, check_rows, questions
from sweeps.statistics.marks import ALPHA, holm
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values, samples, untestable

EQUIVALENT, DIFFERENT, UNDECIDED = "equivalent", "different", "undecided"
_RESULTS = ("difference_percent", "low_percent", "high_percent", "p_value")


def test_name(design: Design, *, classical: bool) -> str:
    """Return what the pair of tests is called."""
    if design == "paired":
        return "two one-sided paired t tests of the ratio of means"
    return f"two one-sided {'t' if classical else 'Welch t'} tests of the ratio of means"


def equivalence(
    rows: pd.DataFrame,
    *,
    metric: str,
    margin_percent: float,
    design: Design = "paired",
    classical: bool = False,
    roles: Roles,
) -> pd.DataFrame:
    """Ask of every pair of levels whether their means differ by less than a percentage of that of `level_b`.

    Two one-sided tests (Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15), of the hypotheses that
    the ratio of means lies at or below `1 - margin` and at or above `1 + margin`. They compare `a` with the scaled `b`
    (Sasabuchi 1988; Hauschke, Kieser & Hothorn 1999, Biometrical Journal 41), so that the reference mean, which is
    estimated too, does not pass for known. `p_value` is the larger of the two. The interval is Fieller's (1954, Journal
    of the Royal Statistical Society B 16) for the difference in percent, at 90%: it lies within the margin exactly
    where `p_value` is below 0.05.

    `verdict` is the answer: `equivalent` where the interval lies within the margin, `different` where it lies outside,
    `undecided` where it does neither. `p_holm` corrects over the family of `analysis.contrasts`; the verdict does not
    use it, as no correction is due to who claims equivalence at every ratio.

    Args:
        rows: one row per model, without baseline rows.
        metric: the numeric column to compare, on a scale with a true zero, such as a time.
        margin_percent: above 0 and below 100.
        design: `paired` (on complete blocks) or `independent` (with a variance of each group).
        classical: one variance for both groups; of the independent design only.
        roles: of the key columns.

    Returns:
        The key columns of `analysis.contrasts`, then `metric, design, margin_percent, n_a, n_b, mean_a, mean_b, sd_a,
        sd_b, difference_percent, low_percent, high_percent, p_value, p_holm, verdict, test, note`.

    Raises:
        ValueError: a key or metric column is missing or unfit, or the margin is no such percentage.
    """
    if not 0 < margin_percent < 100:
        raise ValueError(f"margin: found {margin_percent:g}%, expected a percentage above 0 and below 100")
    check_rows(rows, metric=metric, roles=roles)
    lines: list[dict[str, Any]] = []
    same = {
        "metric": metric,
        "design": design,
        "margin_percent": margin_percent,
        "test": test_name(design, classical=classical),
    }
    for pairs in questions(rows, metric=metric, roles=roles):
        family = [
            _compare(pair, margin=margin_percent / 100, design=design, classical=classical, replicate=roles.replicate)
            for pair in pairs
        ]
        corrected = holm([line["p_value"] for line in family])
        lines += [
            pair.keys | same | line | {"p_holm": p} for pair, line, p in zip(pairs, family, corrected, strict=True)
        ]
    columns = ["factor", "level_a", "level_b", *roles.factors, roles.along, "metric", "design", "margin_percent"]
    columns += ["n_a", "n_b", "mean_a", "mean_b", "sd_a", "sd_b", "difference_percent", "low_percent", "high_percent"]
    columns += ["p_value", "p_holm", "verdict", "test", "note"]
    check_apart(columns)
    return pd.DataFrame(lines, columns=columns)


def _compare(pair: Pair, *, margin: float, design: Design, classical: bool, replicate: str) -> dict[str, Any]:
    """One line: sizes, means, their difference with its interval, the tests, or why there are none."""
    a, b, notes = samples(pair, design=design, replicate=replicate)
    line = dict.fromkeys(_RESULTS, np.nan) | describe(a, b) | {"verdict": UNDECIDED}
    reason = untestable(a, b, design=design, names=(pair.keys["level_a"], pair.keys["level_b"]))
    if reason:
        return line | {"note": "; ".join([*notes, f"not tested: {reason}"])}
    if b.mean() < 0:
        a, b = -a, -b
    # The interval multiplies four of them.
    largest = max(float(np.abs(a).max()), float(np.abs(b).max()))
    a, b = a / largest, b / largest
    means = ratio_of_means(a, b, design=design, classical=classical)
    line["p_value"] = float(means.p_value(margin))
    low, high = (float(end) - 1 for end in means.interval(1 - 2 * ALPHA))
    if np.isnan(low):
        notes.append(f"no interval: the mean of {pair.keys['level_b']} may be zero, of which nothing is a percentage")
    else:
        line |= {
            "difference_percent": 100 * float(means.a / means.b - 1),
            "low_percent": 100 * low,
            "high_percent": 100 * high,
        }
        if line["p_value"] < ALPHA:
            line["verdict"] = EQUIVALENT
        elif high < -margin or margin < low:
            line["verdict"] = DIFFERENT
    return line | {"note": "; ".join([*notes, *_doubts(a, b, margin=margin, design=design, classical=classical)])}


def _doubts(a: Values, b: Values, *, margin: float, design: Design, classical: bool) -> list[str]:
    """As `arrays.assumptions.doubts` says them."""
    if min(len(a), len(b)) < FEWEST:
        return [UNCHECKED]
    if design == "paired":
        skewed = not_normal([a - b], "differences")
        if not skewed:
            return []
        flips = max(_sign_flips(a - (1 - margin) * b), _sign_flips((1 + margin) * b - a))
        return [f"{skewed}: sign flips p={flips:.3g}"]
    unequal, skewed = variances_differ([a, b]) if classical else "", not_normal([a, b])
    welch = float(ratio_of_means(a, b, design=design).p_value(margin))
    return [*([f"{unequal}: Welch p={welch:.3g}"] if unequal else []), *([skewed] if skewed else [])]


def _sign_flips(differences: Values) -> float:
    """One-sided p of their mean being at most zero."""
    half = sign_flip_p(differences[:, None]) / 2
    return half if differences.mean() > 0 else 1 - half
