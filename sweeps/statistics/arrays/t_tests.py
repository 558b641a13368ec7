"""Student's and Welch's t test of two means, and what an effect size needs of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from sweeps.statistics.samples import Design, Values


class TTest(NamedTuple):
    """A t test; numbers, or arrays where many pairs of samples were given.

    Attributes:
        t: the statistic, positive where the first mean is larger.
        df: its degrees of freedom; Welch's are no integer.
        p: two-sided, in [0, 1].
        n_effective: the square of what an effect is multiplied by to be the noncentrality of t: the number of pairs,
            or half the harmonic mean of two sizes.
        difference: of the means, in the unit of the values.
        error: the standard error of the difference, in the same unit.
    """

    t: Values
    df: Values
    p: Values
    n_effective: Values
    difference: Values
    error: Values

    def interval(self, confidence: float) -> tuple[Values, Values]:
        """Return the ends of the interval of the difference at a confidence in (0, 1)."""
        half = special.stdtrit(self.df, (1 + confidence) / 2) * self.error
        return self.difference - half, self.difference + half


def t_test(a: Values, b: Values, *, design: Design, classical: bool = False) -> TTest:
    """Test that two means are equal, whose samples vary.

    `paired` is Student's test of the differences. `independent` is Welch's (1947, Biometrika 34), with Satterthwaite's
    degrees of freedom; its effect is in units of the root of the mean of both variances (Delacre et al. 2021,
    International Review of Social Psychology 34). `classical` is Student's with one variance for both groups, whose p
    is too small where the variances differ and values are few, or the smaller group varies more.

    Args:
        a: shape (..., n_a); leading dimensions are of other pairs of samples.
        b: shape (..., n_b), for `paired` the same, in the order of blocks.
        design: how the samples hang together.
        classical: only of `independent`.
    """
    n_a, n_b = a.shape[-1], b.shape[-1]
    difference = a.mean(axis=-1) - b.mean(axis=-1)
    if design == "paired":
        squared_error = (a - b).var(axis=-1, ddof=1) / n_a
        df, n_effective = np.full_like(squared_error, n_a - 1), np.full_like(squared_error, n_a)
    else:
        var_a, var_b = a.var(axis=-1, ddof=1), b.var(axis=-1, ddof=1)
        if classical:
            df = np.full_like(var_a, n_a + n_b - 2)
            pooled = ((n_a - 1) * var_a + (n_b - 1) * var_b) / df
            n_effective = np.full_like(var_a, n_a * n_b / (n_a + n_b))
            squared_error = pooled / n_effective
        else:
            squared_error = var_a / n_a + var_b / n_b
            df = welch_df(var_a / n_a, n_a - 1, var_b / n_b, n_b - 1)
            n_effective = (var_a + var_b) / 2 / squared_error
    error = np.sqrt(squared_error)
    t = difference / error
    return TTest(t, df, 2 * special.stdtr(df, -np.abs(t)), n_effective, difference, error)


def welch_df(one: Values, df_one: float, other: Values, df_other: float) -> Values:
    """Return the degrees of freedom of a sum of two independent estimates of variance, not both zero.

    By Satterthwaite (1946, Biometrics Bulletin 2): those of a chi-squared variable with the same first two moments.
    """
    return np.square(one + other) / (np.square(one) / df_one + np.square(other) / df_other)
