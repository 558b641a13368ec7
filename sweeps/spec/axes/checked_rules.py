"""Whether the rules of a spec that leave rows out are about columns and axes that there are."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.errors import SpecError
from sweeps.spec.axes.sampling.halving import Halving
from sweeps.spec.axes.skipping import Skip
from sweeps.study import Cell, Study


def check_rules(study: Study, cells: Sequence[Cell], *, skip: Skip | None, halving: Halving | None) -> None:
    """See that rules fit a study and the cells of its grid.

    Raises:
        SpecError: one does not.
    """
    measured = [name for name, kind in study.columns.items() if kind in (int, float)]
    if skip is not None:
        numbers = [axis.name for axis in study.axes if axis.kind in (int, float) and not axis.sampled]
        _check(skip.column, measured, "skip.when", "a column of numbers")
        _check(
            skip.along, [name for name in numbers if name != study.replicate_axis], "skip.along", "an axis of numbers"
        )
    if halving is not None:
        _check(halving.metric, measured, "sample.halving.metric", "a column of numbers")
        if len({cell[study.replicate_axis] for cell in cells}) < 2:
            raise SpecError(
                f"sample.halving: found one {study.replicate_axis} in the grid, expected several: the best draws have "
                "more of them than the others"
            )


def _check(name: str, known: Sequence[str], where: str, what: str) -> None:
    if name not in known:
        raise SpecError(f"{where}: found {name!r}, expected {what}: {', '.join(known) or 'there is none'}")
