"""Draws among the axes of a grid: fields of settings whose values are drawn together, crossed with all other axes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sweeps.errors import SpecError
from sweeps.spec import numbers
from sweeps.spec.axes.values import cell_value
from sweeps.study import Axis, Cell

SPACE = "sample.space"

Drawn = Sequence[Mapping[str, Any]]


def check_space(drawn: Drawn, *, own: Collection[str], paths: Mapping[str, str]) -> list[str]:
    """Return the paths of the fields that are drawn.

    Args:
        drawn: values of each draw.
        own: the study's axes.
        paths: of fields that the grid has values of, and where: in itself, or in an entry.

    Raises:
        SpecError: one is no field, or an axis anyway.
    """
    sampled = sorted(drawn[0]) if drawn else []
    for path in sampled:
        if path in own:
            raise SpecError(
                f"{SPACE}.{path}: found an axis of the study, expected a field of its settings; give its values in grid"
            )
        if paths.get(path, "grid") != "grid":
            raise SpecError(
                f"{paths[path]}.{path}: found a field that is drawn, expected axes of the grid alone: every draw is "
                f"crossed with each cell of it; {SPACE}.{path} says what is drawn"
            )
        if path in paths:
            raise SpecError(f"{SPACE}.{path}: found a field that is an axis of the grid too, expected one of the two")
    return sampled


def distinct(drawn: Drawn, path: str) -> Iterator[tuple[int, Any]]:
    """Yield each value of a field once, and the number of the draw, from 0, that has it first."""
    seen: set[str] = set()
    for number, draw in enumerate(drawn):
        identity = json.dumps(draw[path], sort_keys=True)
        if identity not in seen:
            seen.add(identity)
            yield number, draw[path]


def crossed(cells: Sequence[Cell], drawn: Drawn, axes: Sequence[Axis]) -> list[Cell]:
    """Return every cell with the values of every draw, in the order of the axes."""
    sampled = [axis for axis in axes if axis.sampled]
    values = [{axis.name: _in_cell(draw[axis.name], axis.kind) for axis in sampled} for draw in drawn]
    names = [axis.name for axis in axes]
    whole = ({**cell, **draw} for draw in values for cell in cells)
    return [{name: cell[name] for name in names} for cell in whole]


def _in_cell(given: Any, kind: type) -> Any:
    """Return what a cell holds of a drawn value, which was found to fit."""
    value = cell_value(given, kind)
    if kind not in (int, float) or value is None:
        return value
    return kind(numbers.number(value))
