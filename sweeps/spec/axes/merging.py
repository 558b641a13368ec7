"""Cells that are one row, since they differ in nothing on which it depends: such as the settings of one method, in the
cells of another. The row is published once, with null for what does not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from sweeps.errors import SpecError
from sweeps.study import Cell


class Merged(NamedTuple):
    """A cell as it is published, and the fields that do not matter to its row, which are null in it."""

    cell: dict[str, Any]
    fields: tuple[str, ...] = ()


def merged(
    cells: Sequence[Cell], keys: Sequence[Hashable], *, own: Sequence[str], fields: Sequence[str]
) -> list[Merged]:
    """Return each cell as its row is published: cells of one key are one, null where they differ.

    Args:
        cells: with values for all axes.
        keys: of their rows.
        own: the study's own axes.
        fields: the axes that are fields of its settings.

    Raises:
        SpecError: some values of a field make the same row, and others another.
    """
    groups: dict[Hashable, list[Cell]] = {}
    for cell, key in zip(cells, keys, strict=True):
        groups.setdefault(key, []).append(cell)
    counted: dict[tuple[str, ...], Counter[tuple[Any, ...]]] = {}
    published: dict[Hashable, Merged] = {}
    for key, group in groups.items():
        if len(group) == 1:
            published[key] = Merged(group[0])
            continue
        differing = [field for field in fields if len({cell[field] for cell in group}) > 1]
        alike = tuple(axis for axis in (*own, *fields) if axis not in differing)
        if differing and alike not in counted:
            counted[alike] = Counter(tuple(cell[axis] for axis in alike) for cell in cells)
        if differing and counted[alike][tuple(group[0][axis] for axis in alike)] > len(group):
            one, other = group[:2]
            field = next(field for field in differing if one[field] != other[field])
            raise SpecError(
                f"grid.{field}: found {one[field]!r} and {other[field]!r}, which make one and the same row where "
                "another value does not, expected each value once"
            )
        nulls: dict[str, Any] = dict.fromkeys(differing)
        published[key] = Merged({**group[0], **nulls}, tuple(differing)) if differing else Merged(group[0])
    return [published[key] for key in keys]


def publisher(published: Sequence[Merged]) -> Callable[[Cell], Cell]:
    """Return what says of a cell as which it is published; `published` are those in which something does not matter."""
    masks: dict[tuple[str, ...], dict[tuple[Any, ...], Cell]] = {}
    for cell, fields in published:
        said = tuple(axis for axis in cell if axis not in fields)
        masks.setdefault(said, {})[tuple(cell[axis] for axis in said)] = cell

    def published_as(cell: Cell) -> Cell:
        found = (known.get(tuple(cell[axis] for axis in said)) for said, known in masks.items())
        return next((each for each in found if each is not None), cell)

    return published_as


def merge(cells: Sequence[Cell], published: Sequence[Merged]) -> list[Cell]:
    """Return cells as they are published, each once; `published` as for `publisher`."""
    if not published:
        return list(cells)
    return list({tuple(one.values()): dict(one) for one in map(publisher(published), cells)}.values())
