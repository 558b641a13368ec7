"""Equivalence tests: is the difference of two means smaller than so many percent?

That a test finds no difference does not answer this: it may only have seen too few runs. Tests of whether there is a
difference are in `analysis.py`.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from sweeps.statistics.analysis import ALPHA, describe, holm
from sweeps.statistics.arrays.assumptions import not_normal, variances_differ
from sweeps.statistics.arrays.permutation import sign_flip_p
from sweeps.statistics.cells import Pair, questions
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values, constant, samples, t_test

TESTS: dict[Design, str] = {
    "paired": "two one-sided paired t tests of the ratio of means",
    "independent": "two one-sided t tests of the ratio of means",
}
EQUIVALENT, DIFFERENT, UNDECIDED = "equivalent", "different", "undecided"
_RESULTS = ("difference_percent", "low_percent", "high_percent", "p_value")


def equivalence(
    rows: pd.DataFrame,
    *,
    metric: str,
    margin_percent: float,
    design: Design = "paired",
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
        design: `paired` (on complete blocks) or `independent` (with one variance for both groups).
        roles: of the key columns.

    Returns:
        The key columns of `analysis.contrasts`, then `metric, design, margin_percent, n_a, n_b, mean_a, mean_b, sd_a,
        sd_b, difference_percent, low_percent, high_percent, p_value, p_holm, verdict, test, note`.

    Raises:
        ValueError: a key or metric column is missing or unfit, or the margin is no such percentage.
    """
    if not 0 < margin_percent < 100:
        raise ValueError(f"margin: found {margin_percent:g}%, expected a percentage above 0 and below 100")
    lines: list[dict[str, Any]] = []
    same = {"metric": metric, "design": design, "margin_percent": margin_percent, "test": TESTS[design]}
    for pairs in questions(rows, metric=metric, roles=roles):
        family = [
            _compare(pair, margin=margin_percent / 100, design=design, replicate=roles.replicate) for pair in pairs
        ]
        corrected = holm([line["p_value"] for line in family])
        lines += [
            pair.keys | same | line | {"p_holm": p} for pair, line, p in zip(pairs, family, corrected, strict=True)
        ]
    columns = ["factor", "level_a", "level_b", *roles.factors, roles.along, "metric", "design", "margin_percent"]
    columns += ["n_a", "n_b", "mean_a", "mean_b", "sd_a", "sd_b", "difference_percent", "low_percent", "high_percent"]
    return pd.DataFrame(lines, columns=[*columns, "p_value", "p_holm", "verdict", "test", "note"])


def _compare(pair: Pair, *, margin: float, design: Design, replicate: str) -> dict[str, Any]:
    """One line: sizes, means, their difference with its interval, the tests, or why there are none."""
    a, b, notes = samples(pair, design=design, replicate=replicate)
    line = dict.fromkeys(_RESULTS, np.nan) | describe(a, b) | {"verdict": UNDECIDED}
    reason = _untestable(a, b, design=design)
    if reason:
        return line | {"note": "; ".join([*notes, f"not tested: {reason}"])}
    if b.mean() < 0:
        a, b = -a, -b
    # The interval multiplies four of them.
    largest = max(float(np.abs(a).max()), float(np.abs(b).max()))
    a, b = a / largest, b / largest
    means = _means(a, b, design=design)
    line["p_value"] = means.p_value(margin)
    interval = means.interval()
    if interval is None:
        notes.append(f"no interval: the mean of {pair.keys['level_b']} may be zero, of which nothing is a percentage")
    else:
        low, high = (end - 1 for end in interval)
        line |= {
            "difference_percent": 100 * (means.a / means.b - 1),
            "low_percent": 100 * low,
            "high_percent": 100 * high,
        }
        if -margin < low and high < margin:
            line["verdict"] = EQUIVALENT
        elif high < -margin or margin < low:
            line["verdict"] = DIFFERENT
    return line | {"note": "; ".join([*notes, *_doubts(a, b, margin=margin, design=design)])}


def _untestable(a: Values, b: Values, *, design: Design) -> str:
    if min(len(a), len(b)) < 2:
        found = f"{len(a)} complete blocks" if design == "paired" else f"groups of {len(a)} and {len(b)}"
        return f"{found}, a test needs 2" + ("" if design == "paired" else " in each")
    return "neither level varies" if constant(a, like=(a, b)) and constant(b, like=(a, b)) else ""


def _doubts(a: Values, b: Values, *, margin: float, design: Design) -> list[str]:
    """As `assumptions.doubts` says them."""
    if design == "paired":
        skewed = not_normal([a - b], "differences")
        if not skewed:
            return []
        flips = max(_sign_flips(a - (1 - margin) * b), _sign_flips((1 + margin) * b - a))
        return [f"{skewed}: sign flips p={flips:.3g}"]
    unequal, skewed = variances_differ([a, b]), not_normal([a, b])
    found = []
    if unequal:
        welch = max(_welch(a, (1 - margin) * b), _welch((1 + margin) * b, a))
        found.append(f"{unequal}: Welch p={welch:.3g}")
    return [*found, skewed] if skewed else found


def _welch(larger: Values, smaller: Values) -> float:
    return t_test(larger, smaller, equal_variances=False, alternative="greater")[1]


def _sign_flips(differences: Values) -> float:
    """One-sided p of their mean being at most zero."""
    half = sign_flip_p(differences[:, None]) / 2
    return half if differences.mean() > 0 else 1 - half


class _Means(NamedTuple):
    """Two means of values in [-1, 1], the second not negative; the covariance matrix of these means, and its degrees of
    freedom.
    """

    a: float
    b: float
    var_a: float
    var_b: float
    cov: float
    df: int

    def p_value(self, margin: float) -> float:
        """The larger p of the one-sided tests of `a / b` at `1 - margin` and `1 + margin`."""
        above, below = stats.t.sf(self._t(1 - margin), self.df), stats.t.cdf(self._t(1 + margin), self.df)
        return max(float(above), float(below))

    def interval(self) -> tuple[float, float] | None:
        """The ratios `a / b` that no one-sided test at 5% rejects; None where `b` may be zero."""
        squared = float(stats.t.isf(ALPHA, self.df)) ** 2
        # They solve (a - r b)^2 <= t^2 (var_a - 2 r cov + r^2 var_b), a parabola in r.
        square = self.b**2 - squared * self.var_b
        linear = self.a * self.b - squared * self.cov
        rest = self.a**2 - squared * self.var_a
        if square <= 0:
            return None
        root = math.sqrt(max(linear**2 - square * rest, 0.0))
        return (linear - root) / square, (linear + root) / square

    def _t(self, scale: float) -> float:
        variance = self.var_a - 2 * scale * self.cov + scale**2 * self.var_b
        # Where `a` is `scale` times `b` in every block, both numerator and denominator are zero.
        least = float(np.finfo(float).eps) ** 2
        return (self.a - scale * self.b) / math.sqrt(max(variance, least))


def _means(a: Values, b: Values, *, design: Design) -> _Means:
    mean_a, mean_b = float(a.mean()), float(b.mean())
    if design == "paired":
        covariance = np.cov(a, b) / len(a)
        return _Means(mean_a, mean_b, covariance[0, 0], covariance[1, 1], covariance[0, 1], len(a) - 1)
    df = len(a) + len(b) - 2
    pooled = (np.square(a - a.mean()).sum() + np.square(b - b.mean()).sum()) / df
    return _Means(mean_a, mean_b, pooled / len(a), pooled / len(b), 0.0, df)
