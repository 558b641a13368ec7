"""Hedges' g with its interval, from a t statistic; which groups to compare is `analysis.py`'s."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from sweeps.statistics.samples import Values

CONFIDENCE = 0.95

# Above this |t| the noncentral t of scipy loses digits and may not return, while its limit is exact to 1e-4.
_LARGE_T = 1000.0

_Numbers = npt.ArrayLike


class EffectSize(NamedTuple):
    """A standardised mean difference and its 95% interval; positive where the first group is larger."""

    g: Any
    low: Any
    high: Any


def hedges_g(t: _Numbers, *, df: _Numbers, n_effective: _Numbers) -> EffectSize:
    """Hedges' g of a t test, with a 95% interval of the population effect; numbers, or arrays of one shape.

    The point estimate is d = t / sqrt(n_effective), times the exact small-sample correction
    J = Γ(df/2) / (sqrt(df/2) Γ((df-1)/2)) (Hedges 1981, Journal of Educational Statistics 6, eq. 6e).
    The interval holds every population effect δ whose noncentral t, with noncentrality δ sqrt(n_effective),
    gives the observed t neither in its lower nor in its upper 2.5% (Steiger & Fouladi 1997; Cumming & Finch
    2001, Educational and Psychological Measurement 61). It is exact for δ and therefore not shrunk by J; of Welch's t,
    whose degrees of freedom are estimated, it is an approximation.

    Args:
        t: the statistic, finite.
        df: its degrees of freedom, at least 2: with one, J is 0 and no unbiased estimate exists.
        n_effective: see `t_tests.TTest`.
    """
    t, df, root = (np.asarray(each, dtype=float) for each in (t, df, np.sqrt(n_effective)))
    assert (df >= 2).all()
    correction = np.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / np.sqrt(df / 2)
    tail = (1 - CONFIDENCE) / 2
    low, high = _noncentrality(t, df=df, below=1 - tail), _noncentrality(t, df=df, below=tail)
    return EffectSize(correction * t / root, low / root, high / root)


def _noncentrality(t: Values, *, df: Values, below: float) -> Values:
    """The noncentrality at which a noncentral t variable falls below `t` with probability `below`."""
    found: Values = special.nctdtrinc(df, below, np.clip(t, -_LARGE_T, _LARGE_T))
    # T = (Z + ncp) / sqrt(chi2 / df): beside so large a t, the unit normal Z no longer counts.
    share = np.where(t > 0, 1 - below, below)
    limit = t * np.sqrt(2 * special.gammaincinv(df / 2, share) / df)
    return np.where(np.abs(t) <= _LARGE_T, found, limit)
