"""The two samples of a pair that a test compares, and the reason where there is nothing to test."""

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

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


def untestable(a: Values, b: Values, *, design: Design, names: tuple[Any, Any]) -> str:
    """Return why no test of the means of these samples can be made, or nothing.

    Values that do not vary at all are of replicates that repeat nothing, such as seeds of a network whose weights are
    given: their spread tells nothing of what another replicate would give, in either design.

    Args:
        a: of the first level.
        b: of the second.
        design: how they hang together.
        names: of the two levels.
    """
    if min(len(a), len(b)) < 2:
        found = f"{len(a)} complete blocks" if design == "paired" else f"groups of {len(a)} and {len(b)}"
        return f"{found}, a test needs 2" + ("" if design == "paired" else " in each")
    still = [str(name) for name, group in zip(names, (a, b), strict=True) if constant(group, like=(a, b))]
    if still:
        return f"the values of {' and '.join(still)} do not vary"
    return "the differences do not vary" if design == "paired" and constant(a - b, like=(a, b)) else ""


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
