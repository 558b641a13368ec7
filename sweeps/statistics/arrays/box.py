"""The F test of contrasts of means by Box's approximation, whatever the variances and correlations of what is measured.

One formula for three designs: values of cells that are independent, blocks with a value in every cell, and trials of
several groups that are measured again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from sweeps.statistics.samples import Values


class FTest(NamedTuple):
    """An F test; numbers, or arrays where many tables were given."""

    statistic: Values
    df: Values
    df_error: Values
    p: Values


def scores_of(groups: Sequence[Values], contrasts: Values) -> list[Values]:
    """Return what each unit contributes to each contrast.

    Args:
        groups: of each the values, shape (..., units, measures): units are independent, their measures need not be.
            `measures` may differ between groups.
        contrasts: orthonormal, shape (k, measures of all groups).

    Returns:
        Of each group, shape (..., units, k).
    """
    ends = np.cumsum([group.shape[-1] for group in groups])
    return [group @ part.T for group, part in zip(groups, np.split(contrasts, ends[:-1], axis=1), strict=True)]


def f_test(scores: Sequence[Values]) -> FTest:
    """Test that contrasts of the means of groups are all zero.

    The squared length of the contrasts of means is divided by its expectation. Both degrees of freedom are Box's (1954,
    Annals of Mathematical Statistics 25): those of chi-squared variables with the same first two moments as numerator
    and denominator. For cells of independent values this is the test of Brunner, Dette & Munk (1997, Journal of the
    American Statistical Association 92), of two of them Welch's t test; for blocks it is the repeated-measures ANOVA
    with the epsilon of Greenhouse & Geisser (1959, Psychometrika 24). Covariances are plugged in as estimated, which
    makes the test conservative where many contrasts rest on few units, and never far too ready.

    Args:
        scores: what `scores_of` returns, at least two units in each group, and not all constant.
    """
    means = sum(group.mean(axis=-2) for group in scores)
    spreads = []
    for group in scores:
        units = group.shape[-2]
        deviations = group - group.mean(axis=-2, keepdims=True)
        spreads.append(np.swapaxes(deviations, -1, -2) @ deviations / (units * (units - 1)))
    expected = sum(np.trace(spread, axis1=-2, axis2=-1) for spread in spreads)
    estimated = sum(_squared(spread) / (len_ - 1) for spread, len_ in zip(spreads, _units(scores), strict=True))
    df = np.square(expected) / _squared(np.sum(spreads, axis=0))
    df_error = np.square(expected) / estimated
    statistic = np.square(means).sum(axis=-1) / expected
    return FTest(statistic, df, df_error, special.fdtrc(df, df_error, statistic))


def _units(scores: Sequence[Values]) -> list[int]:
    return [group.shape[-2] for group in scores]


def _squared(matrix: Values) -> Values:
    """The trace of the square of a symmetric matrix."""
    squared: Values = np.square(matrix).sum(axis=(-2, -1))
    return squared
