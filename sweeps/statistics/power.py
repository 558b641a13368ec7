"""How many seeds an experiment needs to see a difference, judged by the variance of the runs at hand.

Power is that of the two-sided t test of two levels, by the noncentral t distribution; for two levels it is also that of
the ANOVA in `analysis.py`, whose F is t². Of Welch's test, whose degrees of freedom are estimated, it is an
approximation.
"""

import math
from bisect import bisect_left
from functools import cache
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from sweeps.statistics.analysis import describe
from sweeps.statistics.arrays.t_tests import t_test, welch_df
from sweeps.statistics.cells import Pair, check_apart, check_rows, questions
from sweeps.statistics.marks import ALPHA
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values, samples, untestable

POWER = 0.8
CONFIDENCE = 0.95
"""Of the interval of a standard deviation."""

MOST = 10_000
"""Runs per level, above which their number is not looked for."""

_Z = np.linspace(-8, 8, 2001)
_WEIGHTS = stats.norm.pdf(_Z) * (_Z[1] - _Z[0])

_RESULTS = ("sd", "sd_low", "sd_high", "smallest_difference", "difference", "power", "n_needed", "n_low", "n_high")


def power_analysis(
    rows: pd.DataFrame,
    *,
    metric: str,
    difference: float | None = None,
    in_percent: bool = False,
    at: float | None = None,
    design: Design = "paired",
    classical: bool = False,
    power: float = POWER,
    alpha: float = ALPHA,
    roles: Roles,
) -> pd.DataFrame:
    """Say, of every pair of levels at every ratio, how many runs see a difference, and what the runs at hand see.

    `sd` is the standard deviation of the differences of blocks (`paired`) or within groups (`independent`: of the mean
    of both variances, which need not be equal). It is itself an estimate, and a rough one from few runs: `sd_low` and
    `sd_high` are its 95% interval, by the chi-squared distribution, and `n_low` and `n_high` what is needed if these
    were the truth.

    Args:
        rows: one row per model, without baseline rows.
        metric: the numeric column to compare.
        difference: of means, to be seen, above 0. Without one there is no power and no number needed: the difference
            found cannot stand in for it, as the power to see that only restates the p-value (Hoenig & Heisey 2001, The
            American Statistician 55).
        in_percent: `difference` is in percent of the mean of both levels, not in the unit of the metric.
        at: the ratio to look at; None for all.
        design: `paired` or `independent`.
        classical: plan for one variance in both groups; of the independent design only.
        power: to be reached, above `alpha` and below 1.
        alpha: of the two-sided test. Holm's correction of m tests at worst asks for alpha / m.
        roles: of the key columns.

    Returns:
        The key columns of `analysis.contrasts`, then `metric, design, alpha, target_power, n_a, n_b, mean_a, mean_b,
        sd, sd_low, sd_high, smallest_difference` (that the runs at hand see with `target_power`), `difference, power`
        (of the runs at hand), `n_needed, n_low, n_high` (runs per level), `note`.

    Raises:
        ValueError: a key or metric column is missing or unfit, or a number is out of its range.
    """
    if difference is not None and not 0 < difference < math.inf:
        raise ValueError(f"difference: found {difference:g}, expected a number above 0")
    if not 0 < alpha < power < 1:
        raise ValueError(f"found alpha {alpha:g} and power {power:g}, expected 0 < alpha < power < 1")
    same = {"metric": metric, "design": design, "alpha": alpha, "target_power": power}
    lines = []
    for pair in _pairs(rows, metric=metric, at=at, roles=roles):
        a, b, notes = samples(pair, design=design, replicate=roles.replicate)
        sizes = {name: value for name, value in describe(a, b).items() if not name.startswith("sd")}
        line = pair.keys | same | dict.fromkeys(_RESULTS, np.nan) | sizes
        reason = untestable(a, b, design=design, names=(pair.keys["level_a"], pair.keys["level_b"]))
        if reason:
            notes.append(f"no standard deviation: {reason}")
        else:
            spread, balance = _spread(a, b, design=design, classical=classical)
            test = t_test(a, b, design=design, classical=classical)
            df, root = float(test.df), math.sqrt(test.n_effective)
            line |= spread | {"smallest_difference": spread["sd"] * noncentrality_for(power, df=df, alpha=alpha) / root}
            wanted = difference
            if wanted is not None and in_percent:
                wanted *= abs(float(a.mean() + b.mean())) / 200
            if wanted == 0:
                notes.append("no difference to see: the mean is zero, of which nothing is a percentage")
            elif wanted is not None:
                line |= {"difference": wanted, "power": power_of_t(wanted / spread["sd"] * root, df=df, alpha=alpha)}
                needed = [
                    runs_for(wanted / sd, design=design, balance=balance, power=power, alpha=alpha)
                    for sd in spread.values()
                ]
                line |= dict(zip(("n_needed", "n_low", "n_high"), needed, strict=True))
                if np.isnan(needed).any():
                    notes.append(f"where no number is given, more than {MOST} runs are needed")
        lines.append(line | {"note": "; ".join(notes)})
    columns = ["factor", "level_a", "level_b", *roles.factors, roles.along, *same, "n_a", "n_b", "mean_a", "mean_b"]
    columns += [*_RESULTS, "note"]
    check_apart(columns)
    return pd.DataFrame(lines, columns=columns)


def _pairs(rows: pd.DataFrame, *, metric: str, at: float | None, roles: Roles) -> list[Pair]:
    check_rows(rows, metric=metric, roles=roles)
    pairs = list(chain.from_iterable(questions(rows, metric=metric, roles=roles)))
    if at is None:
        return pairs
    known = sorted({float(level) for level in rows[roles.along]})
    if at not in known:
        raise ValueError(
            f"found no rows at {roles.along} {at:g}; there are {', '.join(f'{level:g}' for level in known)}"
        )
    return [pair for pair in pairs if pair.keys[roles.along] == at]


def power_of_t(noncentrality: float, *, df: float, alpha: float) -> float:
    """Probability that a two-sided t test rejects at `alpha`, to 1e-6.

    T = (Z + noncentrality) / sqrt(V / df), with Z unit normal and V chi-squared, is beyond the critical value where V
    is small enough; the mean of that probability over Z is taken by the trapezoidal rule. The noncentral t and F of
    scipy 1.17 are NaN at places in the range that a search passes through.
    """
    critical = stats.t.isf(alpha / 2, df)
    beyond = special.chdtr(df, df * np.square((_Z + noncentrality) / critical))
    return float(beyond @ _WEIGHTS)


@cache
def noncentrality_for(power: float, *, df: float, alpha: float) -> float:
    """The noncentrality at which a two-sided t test at `alpha` has this power, above `alpha`."""

    def lacking(noncentrality: float) -> float:
        return power_of_t(noncentrality, df=df, alpha=alpha) - power

    most = 1.0
    while lacking(most) < 0:
        most *= 2
    return float(optimize.brentq(lacking, 0.0, most))


def runs_for(effect: float, *, design: Design, balance: float = 2.0, power: float, alpha: float) -> float:
    """The least number of runs per level that sees a difference of `effect` standard deviations; NaN above `MOST`.

    Args:
        effect: above 0.
        design: `paired` or `independent`.
        balance: of independent groups, what their variances are worth, from 1, where one alone varies, to 2, where both
            do alike: (v_a + v_b)² / (v_a² + v_b²), by which Welch multiplies the degrees of freedom of one group.
        power: to be reached.
        alpha: of the two-sided test.
    """

    def enough(n: int) -> bool:
        df, root = (n - 1, math.sqrt(n)) if design == "paired" else (balance * (n - 1), math.sqrt(n / 2))
        return power_of_t(effect * root, df=df, alpha=alpha) >= power

    return bisect_left(range(MOST + 1), True, lo=2, key=enough) if enough(MOST) else math.nan


class Spread(NamedTuple):
    """A standard deviation with its 95% interval; numbers, or arrays where many pairs of samples were given."""

    sd: Values
    sd_low: Values
    sd_high: Values


def spread_of(a: Values, b: Values, *, design: Design, classical: bool = False) -> Spread:
    """Return the standard deviation that an effect is in units of, and its interval by the chi-squared distribution.

    Args:
        a: shape (..., n_a); leading dimensions are of other pairs of samples.
        b: shape (..., n_b).
        design: `paired`: of the differences; `independent`: of the mean of both variances, with Satterthwaite's degrees
            of freedom.
        classical: of independent groups, the variance that they have in common.
    """
    n_a, n_b = a.shape[-1], b.shape[-1]
    if design == "paired":
        variance = (a - b).var(axis=-1, ddof=1)
        df = np.full_like(variance, n_a - 1)
    else:
        var_a, var_b = a.var(axis=-1, ddof=1), b.var(axis=-1, ddof=1)
        if classical:
            df = np.full_like(var_a, n_a + n_b - 2)
            variance = ((n_a - 1) * var_a + (n_b - 1) * var_b) / df
        else:
            df, variance = welch_df(var_a, n_a - 1, var_b, n_b - 1), (var_a + var_b) / 2
    tail = (1 - CONFIDENCE) / 2
    low, high = (variance * df / (2 * special.gammaincinv(df / 2, share)) for share in (1 - tail, tail))
    return Spread(np.sqrt(variance), np.sqrt(low), np.sqrt(high))


def _spread(a: Values, b: Values, *, design: Design, classical: bool) -> tuple[dict[str, float], float]:
    """The spread by the names of columns, and the balance of both variances."""
    spread = spread_of(a, b, design=design, classical=classical)
    var_a, var_b = a.var(ddof=1), b.var(ddof=1)
    balance = 2.0 if classical or design == "paired" else float((var_a + var_b) ** 2 / (var_a**2 + var_b**2))
    return {name: float(value) for name, value in spread._asdict().items()}, balance
