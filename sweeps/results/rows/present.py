"""The rows of a sweep that its present grid has: a larger one may have been run under the same name before.

Rows outside the grid are no part of what a spec asks for, and a mean over them would be one of another question. Where
rows are read without a spec, as from a Parquet file, nobody knows of a grid, and all are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sweeps.errors import SpecError
from sweeps.spec.axes.reading import cells_of as cells_of_grid
from sweeps.spec.axes.sampling.draws import Sample, draws
from sweeps.spec.loading import mapping_of
from sweeps.spec.mistakes import validated
from sweeps.study import NONE, Axis, Cell


def in_grid(rows: pd.DataFrame, cells: Iterable[Mapping[str, Any]], axes: Sequence[str]) -> np.ndarray[Any, Any]:
    """Say of each row whether it is of one of the cells."""
    known = {tuple(cell[axis] for axis in axes) for cell in cells}
    return np.array([key in known for key in keys_of(rows, axes)], dtype=bool)


def keys_of(rows: pd.DataFrame, axes: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the values of axes of each row, None where one is null."""
    columns = (rows[axis].astype(object).where(rows[axis].notna(), None).tolist() for axis in axes)
    return zip(*columns, strict=True)


def outside(name: str, count: int, *, used: bool, failed: bool = False) -> str:
    """Return a sentence on finished, or failed, rows of a sweep outside its present grid; nothing if there are none."""
    if not count:
        return ""
    what, uses = ("failed", "list") if failed else ("finished", "use")
    said = f"{name}: {count} {what} {'row is' if count == 1 else 'rows are'} outside the present grid"
    if used:
        return f"{said}, and {uses.removesuffix('e')}ed all the same (--all-rows)"
    return f"{said}, and left out; --all-rows {uses}s {'it' if count == 1 else 'them'} too"


def cells_of(spec_text: str, rows: pd.DataFrame, axes: Sequence[str]) -> list[Cell] | None:
    """Return the cells of a stored spec's grid, by the axes of its rows alone, with the rows that are baselines; None
    where the two do not fit.

    Args:
        spec_text: of a sweep of before, of whose study nothing was kept.
        rows: of the sweep.
        axes: which of their columns are axes.
    """
    try:
        raw = mapping_of(spec_text, "spec.yaml")
        grid = raw.get("grid")
        if not isinstance(grid, dict):
            return None
        drawn = draws(validated(Sample, raw["sample"])) if isinstance(raw.get("sample"), dict) else []
        known = [
            # A path in a spec is that of a field.
            Axis(axis, _kind(rows[axis]), optional="." in axis or axis in raw, sampled=bool(drawn) and axis in drawn[0])
            for axis in axes
        ]
        cells = cells_of_grid(grid, known, raw, drawn)
    except SpecError:
        return None
    every = [dict(zip(axes, values, strict=True)) for values in keys_of(rows, axes)]
    return [*cells, *(cell for cell in every if NONE in cell.values())]


def _kind(values: pd.Series[Any]) -> type[str] | type[int] | type[float]:
    if pd.api.types.is_bool_dtype(values):
        return bool
    if pd.api.types.is_integer_dtype(values):
        return int
    return float if pd.api.types.is_float_dtype(values) else str
