"""Points in the unit cube, one after the other: more of them never move those before."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np

Sampler = Literal["random", "sobol"]

MOST_FIELDS = 21201
"""Dimensions for which directions of Sobol's sequence are known."""

Points = np.ndarray[Any, np.dtype[np.float64]]


def points(sampler: Sampler, count: int, fields: int, seed: int) -> Points:
    """Return the first `count` points of a sequence.

    Sobol's is shifted as a whole by one random vector, modulo 1 (Cranley and Patterson 1976): it stays as even, another
    seed gives another one, and the values do not depend on how a version of a library scrambles.

    Args:
        sampler: `random`, independent points; `sobol`, which leave smaller gaps.
        count: of the points.
        fields: dimensions.
        seed: of the random numbers.

    Returns:
        Shape (count, fields), in (0, 1).

    >>> (points("sobol", 4, 2, seed=1) == points("sobol", 9, 2, seed=1)[:4]).all()
    np.True_
    """
    # It takes a second to import, which readers of other specs need not wait for.
    from scipy.stats import qmc

    rng = np.random.default_rng(seed)
    if sampler == "random":
        found = rng.random((count, fields))  # row by row: a longer one begins alike
    else:
        shift = rng.random(fields)
        with warnings.catch_warnings():
            # Balance wants a power of two; a user may stop anywhere, and go on later.
            warnings.simplefilter("ignore", UserWarning)
            found = (qmc.Sobol(fields, scramble=False).random(count) + shift) % 1.0
    return np.clip(found, np.finfo(float).tiny, 1 - np.finfo(float).epsneg)


def normal(unit: float) -> float:
    """Return the quantile of the standard normal distribution."""
    from scipy.special import ndtri

    return float(ndtri(unit))
