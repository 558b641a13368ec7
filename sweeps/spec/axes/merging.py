"""Cells that are one row, since they differ in nothing on which it depends: such as the settings of one method, in the
cells of another. The row is published once, with null for what does not matter.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from sweeps.study import Cell


def merged(cells: Sequence[Cell], keys: Sequence[Hashable], *, own: Sequence[str], fields: Sequence[str]) -> list[Cell]:
    """Return each cell as its row is published: cells of one key are one.

    A field is null in it where all values count for the same that the field has in any cell of the same point of the
    study's own axes. That stays a value of its own where one of these is null itself, or where two rows would be one.

    Args:
        cells: with values for all axes.
        keys: of their rows.
        own: the study's own axes.
        fields: the axes that are fields of its settings.
    """
    groups: dict[Hashable, list[Cell]] = {}
    for cell, key in zip(cells, keys, strict=True):
        groups.setdefault(key, []).append(cell)
    if len(groups) == len(cells):
        return list(cells)
    values: dict[tuple[Any, ...], dict[str, set[Any]]] = {}
    for cell in cells:
        here = values.setdefault(tuple(cell[axis] for axis in own), {field: set() for field in fields})
        for field in fields:
            here[field].add(cell[field])
    taken: dict[tuple[Any, ...], Hashable] = {}
    published: dict[Hashable, Cell] = {}
    for key, group in groups.items():
        first = group[0]
        every = values[tuple(first[axis] for axis in own)]
        one = dict(first)
        for field in fields:
            there = {cell[field] for cell in group}
            if len(there) > 1 and there == every[field] and None not in there:
                one[field] = None  # type: ignore[assignment] - of an axis that is optional
        if taken.setdefault(tuple(one.values()), key) != key:
            one = dict(first)
            taken[tuple(one.values())] = key
        published[key] = one
    return [published[key] for key in keys]


def merge(cells: Sequence[Cell], published: Sequence[Cell]) -> list[Cell]:
    """Return cells, each once, with those of `published` in place of the ones that they stand for.

    Args:
        cells: with values for all axes.
        published: such as `merged` made, with null where a value does not matter.
    """
    if not published:
        return list(cells)
    masks: dict[tuple[str, ...], dict[tuple[Any, ...], Cell]] = {}
    for cell in published:
        said = tuple(axis for axis, value in cell.items() if value is not None)
        masks.setdefault(said, {})[tuple(cell[axis] for axis in said)] = cell

    def stood_for(cell: Mapping[str, Any]) -> Mapping[str, Any]:
        found = (known.get(tuple(cell[axis] for axis in said)) for said, known in masks.items())
        return next((each for each in found if each is not None), cell)

    return list({tuple(one.values()): dict(one) for one in map(stood_for, cells)}.values())
