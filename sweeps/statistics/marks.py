"""When a p-value earns a star: below 5% after Holm's correction, of means above the floor, and said how far checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from sweeps.statistics.arrays.assumptions import FEWEST
from sweeps.statistics.cells import finite
from sweeps.statistics.roles import Roles

ALPHA = 0.05

STAR, UNCHECKED_MARK = "*", "?"


class Floor(NamedTuple):
    """Where differences stop to matter: means of no larger size are taken for as low as means get.

    Attributes:
        amount: 0 or above; 0: there is none.
        in_percent: of the largest size of a cell's mean among the rows, not in the metric's unit.
    """

    amount: float
    in_percent: bool = False

    def of(self, rows: pd.DataFrame, *, metric: str, roles: Roles) -> float:
        """Return the floor in the metric's unit.

        Raises:
            ValueError: the amount is none.
        """
        if not 0 <= self.amount < (100 if self.in_percent else np.inf):
            raise ValueError(
                f"floor: found {self.amount:g}{'%' if self.in_percent else ''}, expected 0 or a number above, "
                "or a percentage below 100%"
            )
        if not self.in_percent:
            return self.amount
        cells = rows.assign(**{metric: finite(rows[metric])}).groupby([*roles.factors, roles.along])[metric].mean()
        return self.amount / 100 * float(cells.abs().max()) if cells.notna().any() else 0.0


FLOOR = Floor(5, in_percent=True)
"""A model that keeps a twentieth of the best one's value has lost what was measured; whether it kept 1% or 3%, no star
says."""


AT_FLOOR = "no star: means at the floor of"
"""How the clause of a note begins on a difference that p alone would star."""


def mark(p_holm: float, *, fewest: int, means: Sequence[float], floor: float) -> tuple[str, str]:
    """Return the star that a p-value earns, a question mark where its values are too few to check, or nothing.

    Args:
        p_holm: after Holm's correction; NaN where no test was made.
        fewest: values in the smallest group, or complete blocks.
        means: of all that was compared.
        floor: in the metric's unit; 0: there is none.

    Returns:
        The mark, and the clause of a note on why there is none where p alone would earn one.
    """
    if not p_holm < ALPHA:
        return "", ""
    if floor > 0 and max(map(abs, means)) <= floor:
        return "", f"{AT_FLOOR} {floor:.3g}"
    return (STAR if fewest >= FEWEST else UNCHECKED_MARK), ""


def holm(p_values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Holm-corrected p-values of one family, in the order given; NaN, a test not made, does not count."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")[: np.isfinite(p).sum()]
    corrected = np.full(p.shape, np.nan)
    steps = np.arange(len(order), 0, -1) * p[order]
    corrected[order] = np.maximum.accumulate(steps).clip(max=1.0)
    return corrected
