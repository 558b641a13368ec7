"""Permutation tests: exact where all arrangements can be counted, else by random ones.

The random ones are the same for the same number of values, so that a p-value is a property of the data; with the
arrangement found counted among them it is never too small (Phipson & Smyth 2010, Statistical Applications in Genetics
and Molecular Biology 9).
"""

import math
from functools import cache
from itertools import chain, combinations

import numpy as np
import numpy.typing as npt

from sweeps.statistics.samples import Values

COUNTABLE = 200_000
"""Arrangements of ten values beside ten are counted: 184,756."""

DRAWN = 19_999

# Sums of the same values in another order may differ in their last digits.
_SLACK = 1e-9


def relabelling_p(a: Values, b: Values) -> float:
    """Two-sided p of the difference of means, over all ways to label the values `a` and `b` (Fisher and Pitman)."""
    fewer = min(len(a), len(b))
    values = np.sort(np.concatenate([a, b]))
    centre = values.mean()
    # Around their mean, the difference of means is a multiple of either group's sum.
    found = abs(float(((a if len(a) == fewer else b) - centre).sum()))
    splits, exact = _splits(len(values), fewer)
    sums = np.abs((values - centre)[splits].sum(axis=1))
    return _share(sums, found, scale=float(np.abs(values - centre).sum()), exact=exact)


def sign_flip_p(contrasts: Values) -> float:
    """Two-sided p of the mean of blocks being zero, over all ways to turn the sign of each block.

    Args:
        contrasts: shape (blocks, k), of each block k contrasts of its values. The statistic is the length of their
            mean, which orders the arrangements as the F of repeated measures does.
    """
    signs, exact = _signs(len(contrasts))
    lengths = np.linalg.norm(signs @ contrasts, axis=1)
    scale = float(np.linalg.norm(contrasts, axis=1).sum())
    return _share(lengths, float(np.linalg.norm(contrasts.sum(axis=0))), scale=scale, exact=exact)


def _share(statistics: Values, found: float, *, scale: float, exact: bool) -> float:
    as_far = int((statistics >= found - _SLACK * scale).sum())
    return as_far / len(statistics) if exact else (as_far + 1) / (len(statistics) + 1)


@cache
def _splits(size: int, part: int) -> tuple[npt.NDArray[np.int_], bool]:
    """All parts of so many of `size` places, or a fixed random choice of them; shape (splits, part)."""
    count = math.comb(size, part)
    if count <= COUNTABLE:
        places = np.fromiter(chain.from_iterable(combinations(range(size), part)), dtype=int, count=count * part)
        return places.reshape(count, part), True
    return np.random.default_rng(0).random((DRAWN, size)).argsort(axis=1)[:, :part], False


@cache
def _signs(blocks: int) -> tuple[Values, bool]:
    """All signs of blocks up to a common one, or a fixed random choice of signs; shape (flips, blocks)."""
    if 2 ** (blocks - 1) <= COUNTABLE:
        turned = np.arange(2 ** (blocks - 1))[:, None] >> np.arange(blocks) & 1
        return 1.0 - 2.0 * turned, True
    return np.random.default_rng(0).choice([1.0, -1.0], size=(DRAWN, blocks)), False
