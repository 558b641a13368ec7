"""From grid axes to cells: axes cross, `exclude` and `include` adjust, as in a GitHub Actions matrix."""

from __future__ import annotations

import difflib
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sweeps.errors import SpecError
from sweeps.spec import numbers
from sweeps.spec.mistakes import LARGEST, found, unknown_key
from sweeps.study import Axis, Cell, Further, Value


def expand(
    grid: Mapping[str, Any], axes: Sequence[Axis], in_force: Mapping[str, Any] = MappingProxyType({})
) -> list[Cell]:
    """Return every cell of a grid once, in the order of the axes.

    Axes cross; an `exclude` entry removes each cell that agrees with all its values; an `include` entry is added to
    each crossed cell it does not contradict, and makes a cell of its own where there is none.

    Args:
        grid: the spec's `grid`: a list of values per axis, and optionally `include` and `exclude`.
        axes: of the study, and those that are fields of its settings.
        in_force: what holds, by axis, in a cell to which the grid gives no value.

    Raises:
        SpecError: an unknown axis, a value of the wrong type or outside its range, a repeated value, an included
            cell that leaves an axis out, or a grid without any cell.
    """
    by_name = {axis.name: axis for axis in axes}
    for name in grid:
        if name not in by_name and name not in ("include", "exclude"):
            raise SpecError(unknown_key(f"grid.{name}", [*by_name, "include", "exclude"]))
    include, exclude = (_entries(grid.get(name, []), f"grid.{name}", by_name) for name in ("include", "exclude"))
    values = {name: _values(given, by_name[name]) for name, given in grid.items() if name in by_name}
    crossed: list[Cell] = [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
    if not values:
        crossed = []
    others = {name: value for name, value in in_force.items() if name not in values}
    crossed = [{**cell, **others} for cell in crossed]
    crossed = [cell for cell in crossed if not any(_agrees(cell, entry) for entry in exclude)]
    added: list[Cell] = []
    for entry in include:
        matching = [cell for cell in crossed if all(cell[k] == v for k, v in entry.items() if k in values)]
        if matching:
            for cell in matching:
                cell.update(entry)
        else:
            added.append({**others, **entry})
    cells: dict[tuple[Value, ...], Cell] = {}
    for cell in crossed + added:
        for axis in axes:
            if axis.name not in cell:
                raise SpecError(f"grid.{axis.name}: found nothing for the cell {_show(cell)}, expected a value")
        ordered = {axis.name: cell[axis.name] for axis in axes}
        cells[tuple(ordered.values())] = ordered
    if not cells:
        raise SpecError("grid: found no cell to compute, expected values for every axis, not all of them excluded")
    return list(cells.values())


def as_meant(grid: Any, axes: Sequence[Axis]) -> Any:
    """Return a grid as it was read with the values that it stands for, in entries too: numbers for quotients such as
    `1/4` on axes of numbers, and names for what an axis reads as one. What is wrong stays, for `expand` to tell.
    """
    if isinstance(grid, list):
        return [as_meant(entry, axes) for entry in grid]
    if not isinstance(grid, dict):
        return grid
    readers: dict[str, Callable[[Any], Any]] = {axis.name: numbers.number for axis in axes if axis.kind is float}
    readers |= {axis.name: functools.partial(_named, axis.further) for axis in axes if axis.further is not None}

    def read(name: str, value: Any) -> Any:
        if name not in readers:
            return as_meant(value, axes)
        return [readers[name](item) for item in value] if isinstance(value, list) else readers[name](value)

    return {name: read(name, value) for name, value in grid.items()}


def _named(further: Further, given: Any) -> Any:
    try:
        name = further.read(given)
    except ValueError:
        return given
    return given if name is None else name


def _values(given: Any, axis: Axis) -> list[Value]:
    where = f"grid.{axis.name}"
    if not isinstance(given, list) or not given:
        raise SpecError(f"{where}: found {found(given)}, expected a list of values")
    values: list[Value] = []
    for index, item in enumerate(given):
        value = _value(item, axis, f"{where}[{index}]")
        if value in values:
            raise SpecError(f"{where}[{index}]: found {item!r} a second time, expected each value once")
        values.append(value)
    return values


def _value(given: Any, axis: Axis, where: str) -> Any:
    if given is None and axis.optional:
        return given
    if axis.further is not None and given not in (axis.choices or ()):
        try:
            further = axis.further.read(given)
        except ValueError as error:
            raise SpecError(f"{where}: {error}") from error
        if further is not None:
            return further
    kinds = {str: "text", int: "a whole number", float: numbers.expected(given), bool: "true or false"}
    accepted = (int, float) if axis.kind is float else axis.kind
    if not isinstance(given, accepted) or isinstance(given, bool) != (axis.kind is bool):
        raise SpecError(f"{where}: found {found(given)}, expected {kinds[axis.kind]}")
    if axis.choices is not None and given not in axis.choices:
        near = difflib.get_close_matches(str(given), axis.choices, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SpecError(f"{where}: found {given!r}, expected one of {', '.join(axis.admitted)}{hint}")
    if isinstance(given, (int, float)):
        if isinstance(given, int) and abs(given) > LARGEST:
            raise SpecError(f"{where}: found {given!r}, expected a whole number of at most 64 bits")
        if not math.isfinite(given):
            raise SpecError(f"{where}: found {given!r}, expected a finite number")
        if axis.bounds is not None and not axis.bounds[0] <= given <= axis.bounds[1]:
            lowest, highest = map(axis.kind, axis.bounds)
            raise SpecError(f"{where}: found {given!r}, expected a value from {lowest} to {highest}")
    value: Value = axis.kind(given)
    return value


def _entries(given: Any, where: str, axes: Mapping[str, Axis]) -> list[Cell]:
    if not isinstance(given, list) or not all(isinstance(entry, dict) and entry for entry in given):
        raise SpecError(f"{where}: found {found(given)}, expected a list of mappings from axis to value")
    entries: list[Cell] = []
    for index, entry in enumerate(given):
        for name in entry:
            if name not in axes:
                raise SpecError(unknown_key(f"{where}[{index}].{name}", list(axes)))
        entries.append({name: _value(item, axes[name], f"{where}[{index}].{name}") for name, item in entry.items()})
    return entries


def _agrees(cell: Cell, entry: Cell) -> bool:
    return all(cell.get(name) == value for name, value in entry.items())


def _show(cell: Cell) -> str:
    return ", ".join(f"{name} {value}" for name, value in cell.items())
