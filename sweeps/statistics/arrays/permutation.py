"""Permutation tests: exact where all arrangements can be counted, else by random ones.

The random ones are the same for the same number of values, so that a p-value is a property of the data; with the
arrangement found counted among them it is never too small (Phipson & Smyth 2010, Statistical Applications in Genetics
and Molecular Biology 9).
"""

import math
from functools import cache
from itertools import chain, combinations, islice

import numpy as np
import numpy.typing as npt

from sweeps.statistics.samples import Values

COUNTABLE = 200_000
"""Arrangements of ten values beside ten are counted: 184,756."""

DRAWN = 19_999

# Sums of the same values in another order may differ in their last digits.
_SLACK = 1e-9

_AT_ONCE = 16
"""Pairs of samples whose arrangements fit into a cache together."""


def relabelling_p(a: Values, b: Values) -> float:
    """Two-sided p of the difference of means, over all ways to label the values `a` and `b` (Fisher and Pitman)."""
    return float(relabelling_ps(a[None], b[None])[0])


def relabelling_ps(a: Values, b: Values) -> Values:
    """Return `relabelling_p` of many pairs of samples, shape (pairs,), from shapes (pairs, n_a) and (pairs, n_b)."""
    fewer = min(a.shape[1], b.shape[1])
    values = np.sort(np.concatenate([a, b], axis=1), axis=1)
    centre = values.mean(axis=1, keepdims=True)
    # Around their mean, the difference of means is a multiple of either group's sum.
    found = np.abs(((a if a.shape[1] == fewer else b) - centre).sum(axis=1))
    centred = values - centre
    splits, exact = _splits(values.shape[1], fewer)
    least = found - _SLACK * np.abs(centred).sum(axis=1)
    as_far = [
        np.count_nonzero(np.abs(centred[part] @ splits.T) >= least[part, None], axis=1)
        for part in np.array_split(np.arange(len(a)), math.ceil(len(a) / _AT_ONCE))
    ]
    return _share(np.concatenate(as_far), len(splits), exact=exact)


def sign_flip_p(contrasts: Values) -> float:
    """Two-sided p of the mean of blocks being zero, over all ways to turn the sign of each block.

    Args:
        contrasts: shape (blocks, k), of each block k contrasts of its values. The statistic is the length of their
            mean, which orders the arrangements as the F of repeated measures does.
    """
    signs, exact = _signs(len(contrasts))
    lengths = np.linalg.norm(signs @ contrasts, axis=1)
    slack = _SLACK * float(np.linalg.norm(contrasts, axis=1).sum())
    as_far = np.count_nonzero(lengths >= np.linalg.norm(contrasts.sum(axis=0)) - slack)
    return float(_share(np.asarray(as_far), len(signs), exact=exact))


def _share(as_far: npt.NDArray[np.int_], arrangements: int, *, exact: bool) -> Values:
    return as_far / arrangements if exact else (as_far + 1) / (arrangements + 1)


@cache
def _splits(size: int, part: int) -> tuple[Values, bool]:
    """All parts of so many of `size` places, or a fixed random choice of them: one where a place is in the part, else
    zero; shape (splits, size). Of halves, which are as far from the middle as the other half, one stands for both.
    """
    count = math.comb(size, part)
    if count <= COUNTABLE:
        halves = 2 * part == size
        chosen = combinations(range(size), part)
        count = count // 2 if halves else count
        places = np.fromiter(chain.from_iterable(islice(chosen, count)), dtype=int, count=count * part)
        places, exact = places.reshape(count, part), True
    else:
        places, exact = np.random.default_rng(0).random((DRAWN, size)).argsort(axis=1)[:, :part], False
    splits = np.zeros((len(places), size))
    np.put_along_axis(splits, places, 1.0, axis=1)
    return splits, exact


@cache
def _signs(blocks: int) -> tuple[Values, bool]:
    """All signs of blocks up to a common one, or a fixed random choice of signs; shape (flips, blocks)."""
    if 2 ** (blocks - 1) <= COUNTABLE:
        turned = np.arange(2 ** (blocks - 1))[:, None] >> np.arange(blocks) & 1
        return 1.0 - 2.0 * turned, True
    return np.random.default_rng(0).choice([1.0, -1.0], size=(DRAWN, blocks)), False
