"""Rows that a sweep keeps when a field becomes an axis of its grid: each gets a column that says what the field was.

A row is known by its key, which does not depend on what is an axis. Where the column of a row is missing, or says what
is true no more of its key, such as a value of a field that turned out not to matter, the row is published once more,
with all else as it was: tables whose rows have different columns would lose them without a word.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa

from sweeps.errors import SpecError
from sweeps.planning.trials import Row, trials
from sweeps.spec import Spec, parse, recorded
from sweeps.spec.axes.fields import place_of
from sweeps.spec.axes.values import LABEL, at, in_force, unlabelled
from sweeps.spec.axes.varied import VariedStudy
from sweeps.spec.loading import mapping_of
from sweeps.storage import Store
from sweeps.storage.backends import notices
from sweeps.storage.rows import row_values, schema
from sweeps.study import Cell

Values = Mapping[str, Any]


class KeptRows(NamedTuple):
    """Rows that are there, and what is to be said of their columns.

    Attributes:
        changed: keys of rows whose cell is in the grid, and that were computed from other inputs.
        columns: what the columns of fields should say, by the keys of rows in which they do not.
        younger: per field that is new to the sweep's rows, how many have which value.
    """

    changed: frozenset[str] = frozenset()
    columns: Mapping[str, Values] = MappingProxyType({})
    younger: Mapping[str, Mapping[Any, int]] = MappingProxyType({})

    def sentences(self) -> Iterator[str]:
        """Yield a sentence per field that was no axis when rows were computed."""
        for path, values in self.younger.items():
            for value, count in values.items():
                said = f"{count} {'row that is there was' if count == 1 else 'rows that are there were'} computed"
                yield f"grid.{path} is new to this sweep: {said} with {'null' if value is None else value}, and kept"


def look(spec: Spec, store: Store, rows: Sequence[Row], published: set[str]) -> KeptRows:
    """Return what is to be known of the rows that are published, of a grid with fields among its axes.

    Args:
        spec: of the sweep.
        store: that has the rows.
        rows: all that the grid has.
        published: keys of those that are there.

    Raises:
        StorageError: a row is damaged.
    """
    study = spec.study
    if not isinstance(study, VariedStudy) or not published:
        return KeptRows()
    kinds = {field.path: field.axis.kind for field in study.fields}
    wanted = {str(row.key): row for row in rows}
    said = row_values(store, spec.name, [*study.own, *kinds])
    before = _Before(spec, store, kinds)
    grid = _Grid(rows, [*kinds])
    changed, columns = set(), {}
    younger: dict[str, Counter[Any]] = {path: Counter() for path in kinds}
    for key in sorted(published & said.keys()):
        line, known = said[key], wanted.get(key)
        there = {path: line[path] for path in kinds if path in line}
        values = {path: there.get(path, before.value(path)) for path in kinds}
        for path in kinds.keys() - there.keys():
            younger[path][values[path]] += 1
        if known is not None:
            values = {path: known.cell[path] for path in kinds}
        elif grid.has(key, tuple(values.values()), alike=before.alike(line)):
            changed.add(key)
            continue
        elif there.keys() != kinds.keys() and not before.has(key):
            # Of an older spec, of which nobody knows what it was.
            values = {path: there.get(path) for path in kinds}
        if there != values:
            columns[key] = values
    return KeptRows(frozenset(changed), columns, {path: counts for path, counts in younger.items() if counts})


def publish(spec: Spec, store: Store, kept: KeptRows, failed: Mapping[str, Cell]) -> None:
    """Publish rows once more whose columns do not say what they should, each with everything else as it was; record
    failures once more likewise.

    Args:
        failed: the cells of rows that failed, by key.
    """
    if isinstance(spec.study, VariedStudy) and failed:
        for failure in list(store.failures(spec.name)):
            cell = failed.get(failure["row_key"])
            if cell is not None and failure.get("cell") != cell:
                store.record_failure(spec.name, failure["row_key"], {**failure, "cell": cell})
    expected = schema(spec.study)
    for key, values in kept.columns.items():
        row = store.read_row(spec.name, key)
        if row is None:
            continue
        made = {path: pa.array([value], expected.field(path).type) for path, value in values.items()}
        names = [*(axis.name for axis in spec.study.axes)]
        names += [name for name in row.column_names if name not in names]
        fields = [expected.field(name) if name in values else row.schema.field(name) for name in names]
        arrays = [made[name] if name in values else row[name] for name in names]
        whole = pa.table(arrays, pa.schema(fields, metadata={**(row.schema.metadata or {}), **expected.metadata}))
        store.publish_row(spec.name, key, whole, replace=True)


def carried(spec: Spec, store: Store) -> Spec:
    """Return a spec with the fields that are axes of the sweep's rows, though its grid does not name them any more:
    these go on with the value that is in force, since rows of one sweep have the same columns.

    Raises:
        StorageError: a row is damaged.
    """
    found = store.axes_of_rows(spec.name) or ()
    axes = {axis.name for axis in spec.study.axes}
    raw = mapping_of(spec.to_yaml(), "spec.yaml")
    study = type(spec.study) if not isinstance(spec.study, VariedStudy) else spec.study.kind
    own = [axis.name for axis in study.axes]
    missing = [path for path in found if path not in axes and place_of(path, study.Settings) is not None]
    if not missing or list(found[: len(own)]) != own:
        return spec
    before = mapping_of(store.read_spec(spec.name) or "{}", store.describe(f"{spec.name}/spec.yaml")).get("grid")
    values = {path: _labelled(at(raw, path), path, before) for path in missing}
    for path, value in values.items():
        shown = value.get(LABEL, json.dumps(value)) if isinstance(value, Mapping) else json.dumps(value)
        notices.say_once(f"grid.{path} is an axis of the rows in {store.describe(spec.name)}: it goes on with {shown}")
    changes = [f"grid.{path}={json.dumps([value])}" for path, value in values.items()]
    return parse(spec.to_yaml(), f"spec {spec.name}", changes)


def _labelled(value: Any, path: str, grid: Any) -> Any:
    """Return a value under the label that it had in a grid, if it had one."""
    there = grid.get(path) if isinstance(grid, Mapping) else None
    return next((each for each in there or () if isinstance(each, Mapping) and unlabelled(each) == value), value)


class _Grid:
    """The cells of a grid, by the values of the fields that are axes."""

    def __init__(self, rows: Sequence[Row], paths: Sequence[str]) -> None:
        self._paths = paths
        self._cells: dict[str, dict[tuple[Any, ...], tuple[str, ...]]] = {}
        for row in rows:
            self._cells.setdefault(row.key.cell, {})[tuple(row.cell[path] for path in paths)] = row.alike

    def has(self, key: str, values: tuple[Any, ...], *, alike: Collection[str]) -> bool:
        """Say whether the cell of a row is there, whatever it has of fields that do not matter, or did not then."""
        cells = self._cells.get(key.split("-")[0], {})
        if values in cells:
            return True
        return any(
            all(
                one == wanted or path in alike or path in any_will_do
                for path, one, wanted in zip(self._paths, values, cell, strict=True)
            )
            for cell, any_will_do in cells.items()
            if any_will_do or alike
        )


class _Before:
    """What the sweep's stored spec says: fields that were no axis had one value, for rows that are its own."""

    def __init__(self, spec: Spec, store: Store, kinds: Mapping[str, type]) -> None:
        self._kinds, self._grid = kinds, spec.engine.grid
        self._text = store.read_spec(spec.name) or ""
        self._raw = mapping_of(self._text or "{}", store.describe(f"{spec.name}/spec.yaml"))
        self._keys: set[str] | None = None
        kept = recorded.read_declared(store, spec.name)
        merged = kept.merged if kept is not None else ()
        self._alike = {tuple(sorted(cell.items())): fields for cell, fields in merged}

    def alike(self, line: Values) -> Sequence[str]:
        """Return the fields that did not matter to a row at the last run."""
        return self._alike.get(tuple(sorted(line.items())), ())

    def value(self, path: str) -> Any:
        return in_force(self._raw, path, self._grid, self._kinds[path])

    def has(self, key: str) -> bool:
        if self._keys is None:
            try:
                stored = parse(self._text, "spec.yaml", importing=False)
                self._keys = {str(row.key) for trial in trials(stored) for row in trial.rows}
            except (SpecError, ValueError):
                self._keys = set()
        return key in self._keys
