"""The ratio of two means: one-sided tests of it by Sasabuchi, and Fieller's interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from sweeps.statistics.arrays.t_tests import welch_df
from sweeps.statistics.samples import Design, Values

_STEPS = 60
"""Halvings of a right angle, after which floating point sees no smaller one."""


class RatioOfMeans(NamedTuple):
    """Two means, the second not negative, and what is known of their error; numbers, or arrays of one shape.

    Attributes:
        a: the mean above.
        b: the mean below.
        var_a: the squared standard error of `a`.
        var_b: that of `b`.
        cov: the covariance of both means.
        df_a: degrees of freedom of the error where `b` does not count.
        df_b: those where `a` does not count.
        separate: both variances are estimated apart, so that in between degrees of freedom are Satterthwaite's; else
            they are the same everywhere.
    """

    a: Values
    b: Values
    var_a: Values
    var_b: Values
    cov: Values
    df_a: float
    df_b: float
    separate: bool

    def p_value(self, margin: float) -> Values:
        """Return the larger p of the one-sided tests of `a / b` at `1 - margin` and `1 + margin`."""
        (above, df_above), (below, df_below) = self._t(1 - margin), self._t(1 + margin)
        larger: Values = np.maximum(special.stdtr(df_above, -above), special.stdtr(df_below, below))
        return larger

    def interval(self, confidence: float) -> tuple[Values, Values]:
        """Return the ratios that no one-sided test at (1 - confidence) / 2 rejects; NaN where `b` may be zero.

        By Fieller (1954, Journal of the Royal Statistical Society B 16); where variances are estimated apart, with the
        degrees of freedom of each ratio. The ends are looked for among the directions (a, b), so that a ratio may be
        as large as it likes.
        """
        level = (1 + confidence) / 2
        bounded = self.b > special.stdtrit(self.df_b, level) * np.sqrt(self.var_b)
        middle = np.arctan2(self.a, self.b)
        ends = []
        for outermost in (-np.pi / 2, np.pi / 2):
            inside, outside = middle, np.full_like(middle, outermost)
            for _ in range(_STEPS):
                angle = (inside + outside) / 2
                accepted = self._accepted(angle, level)
                inside, outside = np.where(accepted, angle, inside), np.where(accepted, outside, angle)
            ends.append(np.where(bounded, np.tan(inside), np.nan))
        return ends[0], ends[1]

    def _accepted(self, angle: Values, level: float) -> npt.NDArray[np.bool_]:
        cos, sin = np.cos(angle), np.sin(angle)
        variance = self._variance(cos, sin)
        return np.square(cos * self.a - sin * self.b) <= np.square(self._quantile(cos, sin, level)) * variance

    def _variance(self, cos: Values | float, sin: Values | float) -> Values:
        return np.maximum(cos**2 * self.var_a - 2 * cos * sin * self.cov + sin**2 * self.var_b, 0.0)

    def _df(self, cos: Values | float, sin: Values | float) -> Values:
        if not self.separate:
            return np.full_like(self.a, self.df_a)
        return welch_df(cos**2 * self.var_a, self.df_a, sin**2 * self.var_b, self.df_b)

    def _quantile(self, cos: Values, sin: Values, level: float) -> Values:
        return special.stdtrit(self._df(cos, sin), level)

    def _t(self, scale: float) -> tuple[Values, Values]:
        # Where `a` is `scale` times `b` in every block, both numerator and denominator are zero.
        least = float(np.finfo(float).eps) ** 2
        error = np.sqrt(np.maximum(self._variance(1.0, scale), least))
        return (self.a - scale * self.b) / error, self._df(1.0, scale)


def ratio_of_means(a: Values, b: Values, *, design: Design, classical: bool = False) -> RatioOfMeans:
    """Return the means of samples of values in [-1, 1], the mean of `b` not negative.

    Args:
        a: shape (..., n_a); leading dimensions are of other pairs of samples.
        b: shape (..., n_b).
        design: `paired` with a covariance, or `independent`.
        classical: `independent` with one variance for both.
    """
    n_a, n_b = a.shape[-1], b.shape[-1]
    mean_a, mean_b = a.mean(axis=-1), b.mean(axis=-1)
    var_a, var_b = a.var(axis=-1, ddof=1), b.var(axis=-1, ddof=1)
    if design == "paired":
        cov = ((a - mean_a[..., None]) * (b - mean_b[..., None])).sum(axis=-1) / (n_a - 1)
        return RatioOfMeans(mean_a, mean_b, var_a / n_a, var_b / n_a, cov / n_a, n_a - 1, n_a - 1, separate=False)
    if classical:
        df = n_a + n_b - 2
        pooled = ((n_a - 1) * var_a + (n_b - 1) * var_b) / df
        return RatioOfMeans(mean_a, mean_b, pooled / n_a, pooled / n_b, np.zeros_like(pooled), df, df, separate=False)
    zero = np.zeros_like(var_a)
    return RatioOfMeans(mean_a, mean_b, var_a / n_a, var_b / n_b, zero, n_a - 1, n_b - 1, separate=True)
