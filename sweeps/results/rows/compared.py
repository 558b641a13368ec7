"""Rows as analyses and figures compare them, where fields of settings are among the axes.

A row to which a field does not matter is published once, with null there. In a comparison it stands for each value that
the field has in the grid: the method whose settings were not swept is compared with the other at each of its settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from sweeps.results.doubts import trusted_over_draws
from sweeps.results.roles import roles_of
from sweeps.results.rows.present import keys_of
from sweeps.spec import Spec
from sweeps.spec.axes.merging import publisher
from sweeps.study import NONE

NULL = "null"
"""What the level of an axis is called in analyses where a field is null: levels are numbers, or words."""


def compared(rows: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """Return the rows of a grid with a line for each cell that a row stands for; others as they are. Where settings
    were drawn, these are means over the draws, of values that are not in doubt.

    Args:
        rows: of the sweep, without baselines.
        spec: of the sweep, which knows what fields do not matter to.
    """
    return trusted_over_draws(stood_for(rows, spec), spec.study.doubts, roles_of(spec.study))


def stood_for(rows: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """Return the same, each draw by itself, with values that are in doubt."""
    fields = [axis.name for axis in spec.study.axes if axis.optional]
    if not fields or rows.empty:
        return rows
    axes = [axis.name for axis in spec.study.axes]
    places = {key: place for place, key in enumerate(keys_of(rows, axes))}
    published_as = publisher(spec.merged)
    taken: list[int] = []
    values: list[tuple[Any, ...]] = []
    for cell in spec.cells:
        published = published_as(cell)
        place = places.get(tuple(published[axis] for axis in axes))
        if place is not None:
            taken.append(place)
            values.append(tuple(cell[field] for field in fields))
    others = sorted(set(range(len(rows))) - {*taken})
    known = [*keys_of(rows.iloc[others], fields)] if others else []
    columns = zip(*values, *known, strict=True)
    found = rows.iloc[[*taken, *others]].reset_index(drop=True)
    leveled = {field: levels([*column]) for field, column in zip(fields, columns, strict=True)}
    return found.assign(**leveled).sort_values(axes, ignore_index=True)


def baselines(rows: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """Return the rows of baselines without null among their axes: where a field does not matter, they have none."""
    fields = [axis.name for axis in spec.study.axes if axis.optional]
    columns = {field: [*rows[field].astype(object).where(rows[field].notna(), None)] for field in fields}
    nothing = {field: NONE for field, column in columns.items() if None in column}
    rows = rows.assign(
        **{
            field: [NONE if value is None else str(value) for value in columns[field]] if field in nothing else column
            for field, column in columns.items()
        }
    )
    return trusted_over_draws(rows, spec.study.doubts, roles_of(spec.study))


def levels(values: Sequence[Any] | pd.Series[Any]) -> pd.Series[Any]:
    """Return values of an axis as levels: words, where one of them is null."""
    column = pd.Series(values).infer_objects()
    if not column.isna().any():
        return column
    return column.astype(object).map(
        lambda value: NULL if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)
    )
