"""Axes of a grid that are fields of the study's settings: found among its keys, checked, their values resolved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sweeps.errors import SpecError
from sweeps.spec.axes.fields import check_path
from sweeps.spec.axes.grid import expand
from sweeps.spec.axes.sampling.crossing import SPACE, check_space, crossed, distinct
from sweeps.spec.axes.values import ADJUSTING, LABEL, FieldAxis, Values, in_cells, in_force
from sweeps.spec.mistakes import found
from sweeps.statistics.roles import ANALYSED
from sweeps.storage.rows import PROVENANCE, stage_columns
from sweeps.study import Axis, Cell, Study


def field_paths(grid: Mapping[Any, Any], study: type[Study]) -> list[str]:
    """Return the keys of a grid, and of its entries, that are no axes of the study, sorted: columns and messages do not
    depend on the order in which they are written.
    """
    own = {axis.name for axis in study.axes} | {*ADJUSTING}
    entries = [entry for name in ADJUSTING if isinstance(grid.get(name), list) for entry in grid[name]]
    keys = [*grid, *(key for entry in entries if isinstance(entry, dict) for key in entry)]
    return sorted({str(key) for key in keys if key not in own})


def field_axes(
    grid: Mapping[str, Any],
    study: type[Study],
    settings: Mapping[str, Any],
    *,
    engine: Collection[str],
    drawn: Sequence[Mapping[str, Any]] = (),
) -> tuple[dict[str, Any], list[FieldAxis]]:
    """Return a grid with the values of its fields resolved, and these axes.

    Args:
        grid: as it was read.
        study: whose settings have the fields.
        settings: of the study in JSON, which hold wherever the grid says nothing.
        engine: fields of a spec that are the same for every study.
        drawn: values of other fields, of each draw of a sample.

    Raises:
        SpecError: a key is no field, or one that no axis can be of, or a value does not fit; each mistake in a line.
    """
    paths = field_paths(grid, study)
    own = [axis.name for axis in study.axes]
    where = {path: _place(grid, path) for path in paths}
    sampled = check_space(drawn, own=own, paths=where)
    paths = sorted({*paths, *sampled})
    where |= dict.fromkeys(sampled, SPACE)
    places = {path: check_path(path, study.Settings, axes=own, engine=engine, where=where[path]) for path in paths}
    for path in paths:
        _check_name(path, study, paths, where=where[path])
    readers = {path: Values(path, place, study.Settings, settings) for path, place in places.items()}
    resolved, mistakes = dict(grid), list[str]()

    def read(path: str, given: Any, where: str, *, anew: bool) -> Any:
        try:
            return readers[path].resolved(given, where, anew=anew)
        except SpecError as error:
            mistakes.append(str(error))
            return None

    for path in (path for path in grid if path in readers):
        if not isinstance(grid[path], list) or not grid[path]:
            raise SpecError(f"grid.{path}: found {found(grid[path])}, expected a list of values")
        resolved[path] = [read(path, item, f"grid.{path}[{index}]", anew=True) for index, item in enumerate(grid[path])]
    for path in sampled:
        before = len(mistakes)
        for number, item in distinct(drawn, path):
            read(path, item, f"{SPACE}.{path}, draw {number}", anew=True)
            if len(mistakes) > before:
                break  # the others will be of the same kind
    for name in ADJUSTING:
        if isinstance(grid.get(name), list):
            resolved[name] = [
                {
                    key: read(key, item, f"grid.{name}[{index}].{key}", anew=False) if key in readers else item
                    for key, item in entry.items()
                }
                if isinstance(entry, dict)
                else entry
                for index, entry in enumerate(grid[name])
            ]
    if mistakes:
        raise SpecError("\n".join(mistakes))
    return resolved, [
        FieldAxis(
            Axis(path, place.kind, meaning=place.meaning, optional=True, sampled=path in sampled), readers[path].known
        )
        for path, place in places.items()
    ]


def cells_of(
    grid: Mapping[str, Any],
    axes: Sequence[Axis],
    settings: Mapping[str, Any],
    drawn: Sequence[Mapping[str, Any]] = (),
) -> list[Cell]:
    """Return the cells of a resolved grid.

    Args:
        grid: as `field_axes` returns it, or a stored spec has it.
        axes: of the study, and those that are fields, which are `optional`.
        settings: of the spec in JSON, which hold wherever the grid says nothing.
        drawn: values of the axes that are `sampled`, of each draw: they are crossed with the grid.

    Raises:
        SpecError: see `grid.expand`.
    """
    kinds = {axis.name: axis.kind for axis in axes if axis.optional and not axis.sampled}
    known = {path: in_force(settings, path, grid, kind) for path, kind in kinds.items()}
    cells = expand(in_cells(grid, kinds), [axis for axis in axes if not axis.sampled], known)
    return crossed(cells, drawn, axes) if drawn else cells


def _place(grid: Mapping[str, Any], path: str) -> str:
    """Return where a grid has a key first: in itself, or in an entry."""
    entries = (
        (f"grid.{name}[{index}]", entry)
        for name in ADJUSTING
        if isinstance(grid.get(name), list)
        for index, entry in enumerate(grid[name])
    )
    return (
        "grid" if path in grid else next(place for place, entry in entries if isinstance(entry, dict) and path in entry)
    )


def _check_name(path: str, study: type[Study], paths: Collection[str], *, where: str) -> None:
    """Refuse a field that no column can be named by, and one inside another that is an axis too."""
    taken = {*study.columns, *study.tables, *PROVENANCE, *stage_columns(study), *ANALYSED, LABEL}
    if path in taken:
        raise SpecError(
            f"{where}.{path}: found a field whose name another column of rows, or of analyses, has, expected a field "
            "whose values can have a column named by its path"
        )
    inside = next((other for other in paths if path.startswith(f"{other}.")), None)
    if inside is not None:
        raise SpecError(f"{where}.{path}: found a field of {inside!r}, which is an axis too, expected one of the two")
