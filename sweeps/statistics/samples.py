"""The two samples of a pair that a test compares, and the reason where there is nothing to test."""

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from sweeps.statistics.cells import Pair

Design = Literal["paired", "independent"]
Values = npt.NDArray[np.floating[Any]]


class Samples(NamedTuple):
    """Finite values of two levels.

    Attributes:
        a: in the order of replicates; `paired`: `a[i]` and `b[i]` are of one block.
        b: of the other level.
        notes: what was left out.
    """

    a: Values
    b: Values
    notes: list[str]


def samples(pair: Pair, *, design: Design, replicate: str) -> Samples:
    """Return the values to test: `paired`, those of blocks complete in both levels; else all."""
    if design == "paired":
        blocks = pd.DataFrame({"a": pair.a, "b": pair.b})
        notes = _dropped(blocks.isna().any(axis=1), f"dropped {replicate}", "without a value in both")
        complete = blocks.dropna()
        return Samples(complete["a"].to_numpy(), complete["b"].to_numpy(), notes)
    groups = {str(pair.keys["level_a"]): pair.a, str(pair.keys["level_b"]): pair.b}
    notes = [
        note
        for name, group in groups.items()
        for note in _dropped(group.isna(), f"{name}: dropped {replicate}", "without a finite value")
    ]
    return Samples(pair.a.dropna().to_numpy(), pair.b.dropna().to_numpy(), notes)


def untestable(a: Values, b: Values, *, design: Design) -> str:
    """Return why no test of the means of these samples can be made, or nothing."""
    if design == "paired":
        if len(a) < 2:
            return f"{len(a)} complete blocks, a test needs 2"
        return "the differences do not vary" if constant(a - b, like=(a, b)) else ""
    if min(len(a), len(b)) < 2:
        return f"groups of {len(a)} and {len(b)}, a test needs 2 in each"
    return "neither group varies" if constant(a, like=(a, b)) and constant(b, like=(a, b)) else ""


def t_test(
    a: Values,
    b: Values,
    *,
    equal_variances: bool = True,
    alternative: Literal["two-sided", "less", "greater"] = "two-sided",
) -> tuple[float, float]:
    """Return t and p of two independent groups, one of which may be constant."""
    # Of the values themselves, scipy warns where one group is constant, and its F is below zero where means are equal.
    groups = [(group.mean(), group.std(ddof=1), len(group)) for group in (a, b)]
    test = stats.ttest_ind_from_stats(*groups[0], *groups[1], equal_var=equal_variances, alternative=alternative)
    return float(test.statistic), float(test.pvalue)


def constant(values: Values, *, like: tuple[Values, ...]) -> bool:
    """Say whether values differ by no more than decimals such as 0.3 - 0.2 and 0.2 - 0.1 do.

    Args:
        values: what may be constant.
        like: what they were computed from.
    """
    largest = max(float(np.abs(each).max(initial=0)) for each in like)
    return float(np.ptp(values)) <= 64 * float(np.finfo(float).eps) * largest


def _dropped(missing: "pd.Series[bool]", what: str, why: str) -> list[str]:
    names = ", ".join(str(block) for block in missing.index[missing])
    return [f"{what} {names} {why}"] if names else []
