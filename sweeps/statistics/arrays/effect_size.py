"""Hedges' g with its exact interval, from a t statistic; which groups to compare is `analysis.py`'s."""

import math
from typing import NamedTuple

from scipy import special, stats

CONFIDENCE = 0.95

# Above this |t| the noncentral t of scipy loses digits and may not return, while its limit is exact to 1e-4.
_LARGE_T = 1000.0


class EffectSize(NamedTuple):
    """A standardised mean difference and its 95% interval; positive where the first group is larger."""

    g: float
    low: float
    high: float


def hedges_g(t: float, *, df: int, n_effective: float) -> EffectSize:
    """Hedges' g of a t test, with a 95% interval of the population effect.

    The point estimate is d = t / sqrt(n_effective), times the exact small-sample correction
    J = Γ(df/2) / (sqrt(df/2) Γ((df-1)/2)) (Hedges 1981, Journal of Educational Statistics 6, eq. 6e).
    The interval holds every population effect δ whose noncentral t, with noncentrality δ sqrt(n_effective),
    gives the observed t neither in its lower nor in its upper 2.5% (Steiger & Fouladi 1997; Cumming & Finch
    2001, Educational and Psychological Measurement 61). It is exact for δ and therefore not shrunk by J.

    Args:
        t: the statistic, finite.
        df: its degrees of freedom, at least 2: with one, J is 0 and no unbiased estimate exists.
        n_effective: pairs n for a paired test, n_a n_b / (n_a + n_b) for two independent groups.
    """
    assert df >= 2
    root = math.sqrt(n_effective)
    correction = math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)
    tail = (1 - CONFIDENCE) / 2
    low, high = _noncentrality(t, df=df, below=1 - tail), _noncentrality(t, df=df, below=tail)
    return EffectSize(correction * t / root, low / root, high / root)


def _noncentrality(t: float, *, df: int, below: float) -> float:
    """The noncentrality at which a noncentral t variable falls below `t` with probability `below`."""
    if abs(t) <= _LARGE_T:
        return float(special.nctdtrinc(df, below, t))
    # T = (Z + ncp) / sqrt(chi2 / df): beside so large a t, the unit normal Z no longer counts.
    chi2 = stats.chi2.ppf(1 - below if t > 0 else below, df)
    return t * math.sqrt(float(chi2) / df)
