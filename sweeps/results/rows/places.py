"""What tells the cells of rows and of failures apart: their keys, unless fields are among the axes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

from sweeps.planning.keys import cell_digest
from sweeps.study import Study


class Places(NamedTuple):
    """`place` takes the key of a row and its cell, or a planned cell and no key; `axes` are those that it looks up in a
    row's cell, none where the key says it.
    """

    place: Callable[[str, Mapping[str, Any]], Hashable]
    axes: list[str]


def places(study: Study) -> Places:
    """Return what tells cells of a study apart. The key of a row is made of the study's own axes alone, and a part of
    it stands for several cells where fields are axes too.
    """
    axes = [axis.name for axis in study.axes]
    if any(axis.optional for axis in study.axes):
        return Places(lambda _, cell: tuple(cell.get(axis) for axis in axes), axes)
    return Places(lambda key, cell: key.split("-")[0] if key else cell_digest(cell), [])
