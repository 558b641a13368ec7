"""A sweep on storage, opened to be read: its spec, its rows, its failures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sweeps import spec as specs
from sweeps.errors import SpecError, StorageError
from sweeps.planning.keys import cell_digest
from sweeps.results.doubts import trusted
from sweeps.results.failures import failures_of
from sweeps.results.roles import roles_of
from sweeps.results.rows.compared import baselines, compared
from sweeps.results.rows.left_out import left_out, sentence, with_left_out
from sweeps.results.rows.present import cells_of, in_grid, keys_of, outside
from sweeps.results.written_before import read_before, read_told
from sweeps.spec import Spec, recorded, studies
from sweeps.spec.axes.merging import merge
from sweeps.spec.axes.varied import VariedStudy
from sweeps.statistics.roles import Roles
from sweeps.storage import Store
from sweeps.storage.backends import notices
from sweeps.storage.rows import completed, read_all, schema, split_location
from sweeps.study import Cell, Doubts


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is there of a sweep. `rows` are the grid's; `baseline` are those the study compares them with.

    `cells` are those of the present grid, with those of other rows where these were asked for; `outside` is a sentence
    on these rows, and on those that rules leave out, if there are any.
    """

    location: str
    store: Store
    spec: Spec
    cells: list[Cell]
    rows: pd.DataFrame
    baseline: pd.DataFrame
    failures: list[dict[str, Any]]
    outside: str = ""

    @property
    def metrics(self) -> Mapping[str, str]:
        """The columns to draw and test, with their labels; the main one first."""
        return self.spec.study.metrics

    @property
    def roles(self) -> Roles:
        """The parts that the study's axes play in an analysis."""
        return roles_of(self.spec.study)

    @property
    def trusted(self) -> Sweep:
        """The sweep without values that are in doubt, for figures and tests, in which rows are as they are compared."""
        doubts, sweep = self.spec.study.doubts, self.compared
        return replace(sweep, rows=trusted(sweep.rows, doubts), baseline=trusted(sweep.baseline, doubts))

    @property
    def compared(self) -> Sweep:
        """The sweep with a row for each cell that it stands for."""
        return replace(self, rows=compared(self.rows, self.spec), baseline=baselines(self.baseline, self.spec))


class Rows(NamedTuple):
    """The rows of a sweep, and which parts their columns play; `remark` on a sweep that another version wrote.

    `doubts` as `Study.doubts`; the rows still have what is in doubt. `outside` as of a `Sweep`, `paired` as
    `Study.paired`. `compared` are the rows as analyses take them, where these are others; see `results.rows.compared`.
    """

    rows: pd.DataFrame
    baseline: pd.DataFrame
    roles: Roles
    metrics: tuple[str, ...]
    doubts: Doubts
    remark: str = ""
    outside: str = ""
    paired: bool = True
    compared: pd.DataFrame | None = None


def find_store(location: str) -> tuple[Store, str]:
    """Return the storage of `<storage>/<name>`, and the name.

    Raises:
        StorageError: there is no sweep.
    """
    storage, name = split_location(location)
    store = Store(storage)
    if not store.has_sweep(name):
        raise StorageError(f"{location}: found no spec.yaml there, expected the folder of a sweep, <storage>/<name>")
    return store, name


def measured_name(name: str) -> str:
    """Return the name of the sweep that holds what was measured again of another."""
    return f"{name}-measured"


def measurements_of(location: str) -> str:
    """Return where that sweep is.

    Raises:
        StorageError: nothing was measured again, or there is no sweep.
    """
    store, name = find_store(location)
    if not store.has_sweep(measured_name(name)):
        raise StorageError(f"{location}: found no measurements of it, expected those of `sweeps measure {location} …`")
    return store.describe(measured_name(name))


def find_sweep(location: str) -> tuple[Store, str, Spec]:
    """Return the storage of `<storage>/<name>`, the name, and the spec there; its rows are not read.

    Its study is what it declared when the sweep was last run, and is not imported. Of a sweep of before, where that was
    not kept, it is a registered one, or one that this process has imported anyway.

    Raises:
        StorageError: there is no sweep.
        SpecError: its spec is none, or none any more, or nothing is known of its study.
    """
    store, name = find_store(location)
    return store, name, _recorded(store, name) or _parsed(store, name)


def find_with_study(location: str, study: str | None = None) -> tuple[Store, str, Spec]:
    """Return the same with the study itself, where it may be imported: it is registered, this process has it anyway, or
    the user names it; else with what it declared.

    Raises:
        StorageError: there is no sweep.
        SpecError: its spec is none, or none any more, or nothing is known of its study.
    """
    store, name = find_store(location)
    if study is not None:
        changes = [f"study={json.dumps(study)}"]
        found = specs.parse(store.read_spec(name) or "", f"{location}/spec.yaml", changes)
        return store, name, _called(name, found)
    try:
        return store, name, _parsed(store, name)
    except SpecError as error:
        kept = _recorded(store, name)
        if kept is None:
            raise
        if kept.engine.study in studies.registered():
            why = str(error).splitlines()[0]
            notices.say_once(f"{why}; the sweep is read by what its study declared when it ran, of another version")
        return store, name, kept


def _parsed(store: Store, name: str) -> Spec:
    found = specs.parse(store.read_spec(name) or "", store.describe(f"{name}/spec.yaml"), importing=False)
    kept = recorded.read_declared(store, name) if isinstance(found.study, VariedStudy) else None
    return _called(name, found if kept is None else replace(found, merged=kept.merged))


def _recorded(store: Store, name: str) -> Spec | None:
    found = recorded.read(store, name)
    return None if found is None else _called(name, found)


def _called(name: str, spec: Spec) -> Spec:
    """Return a spec under the name of its folder, which may have been renamed or copied since the spec was written."""
    return spec if spec.name == name else replace(spec, engine=spec.engine.model_copy(update={"name": name}))


def load_results(
    sweep: str | os.PathLike[str], *, all_rows: bool = False, measured: bool = False, skipped: bool = False
) -> pd.DataFrame:
    """Return the rows of a sweep's present grid, sorted by their keys; of one without rows, its columns.

    Args:
        sweep: `<storage>/<name>`, a path or a URI.
        all_rows: also those of a larger grid that was run before under the same name.
        measured: instead, those of `sweeps measure`: what the sweep's rows have kept, measured again.
        skipped: also a line for each row that a rule of the spec leaves out, and a column `skipped` with the rule.

    Raises:
        StorageError: no such sweep, a damaged row, or two rows of one cell.
    """
    location = os.fspath(sweep)
    store, name = find_store(measurements_of(location) if measured else location)
    found = read_all(store, name)
    spec = None
    with suppress(SpecError):
        spec = _recorded(store, name) or (_parsed(store, name) if found is None or skipped else None)
    if found is None:
        return pd.DataFrame() if spec is None else completed(pd.DataFrame(), schema(spec.study))
    rows, axes = found
    cells = cells_of(store.read_spec(name) or "", rows, axes) if spec is None else spec.planned
    lost = {} if spec is None or not skipped else left_out(spec, rows)
    if all_rows or cells is None:
        return with_left_out(rows, lost, axes) if skipped else rows
    # While a run adds the column of a field that is new to the sweep, some rows have more axes than the stored spec.
    known = [axis for axis in axes if not cells or axis in cells[0]]
    present = rows[in_grid(rows, cells, known)].reset_index(drop=True)
    return with_left_out(present, lost, axes) if skipped else present


def open_rows(location: str, *, all_rows: bool = False) -> Rows:
    """Return the rows of a sweep, also of one whose spec is none any more. No study is imported for rows that say
    themselves what they are.

    Args:
        location: `<storage>/<name>`.
        all_rows: also those outside the present grid.

    Raises:
        StorageError: there is no sweep, or its rows are damaged.
        SpecError: its spec is none, and it has no rows.
    """
    try:
        store, name = find_store(location)
        found = _recorded(store, name)
        if found is None:
            told = read_told(store, name, all_rows=all_rows)
            if told is not None:
                return Rows(told.rows, told.baseline, told.roles, told.metrics, told.doubts, outside=told.outside)
        sweep = _opened(location, store, name, found or _parsed(store, name), all_rows=all_rows)
    except SpecError as error:
        store, name = find_store(location)
        before = read_before(store, name)
        if before is None:
            raise
        cause = str(error).splitlines()[0]
        remark = f"{before.remark} ({cause})"
        return Rows(before.rows, before.baseline, before.roles, before.metrics, before.doubts, remark)
    study = sweep.spec.study
    return Rows(
        sweep.rows,
        sweep.baseline,
        sweep.roles,
        tuple(sweep.metrics),
        study.doubts,
        outside=sweep.outside,
        paired=study.paired,
        compared=sweep.compared.rows,
    )


def open_sweep(location: str, study: str | None = None, *, all_rows: bool = False) -> Sweep:
    """Open `<storage>/<name>` with its study, as `find_with_study` finds it; `all_rows` as for `open_rows`.

    Raises:
        StorageError: there is no sweep, or its rows are damaged.
        SpecError: its spec is none, or none any more, or nothing is known of its study.
    """
    return _opened(location, *find_with_study(location, study), all_rows=all_rows)


def _opened(location: str, store: Store, name: str, loaded: Spec, *, all_rows: bool) -> Sweep:
    found = read_all(store, name)
    frame = completed(pd.DataFrame() if found is None else found[0], schema(loaded.study))
    axes = [axis.name for axis in loaded.study.axes]
    planned = in_grid(frame, loaded.planned, axes)
    cells: list[Cell] = [dict(zip(axes, values, strict=True)) for values in keys_of(frame, axes)]
    is_baseline = np.array([loaded.study.is_baseline(cell) for cell in cells], dtype=bool)
    others = [cell for cell, known, base in zip(cells, planned, is_baseline, strict=True) if not (known or base)]
    used, grid = planned | all_rows, merge(loaded.cells, loaded.merged)
    failures = _placed(failures_of(store, name), loaded)
    failed = pd.DataFrame([failure["cell"] for failure in failures], columns=axes)
    lost = left_out(loaded, frame, {tuple(failure["cell"][axis] for axis in axes) for failure in failures})
    said = (outside(name, int((~planned).sum()), used=all_rows), sentence(name, [*lost.values()]))
    return Sweep(
        location=location,
        store=store,
        spec=loaded,
        cells=[*grid, *others] if all_rows else grid,
        rows=frame[used & ~is_baseline],
        baseline=frame[used & is_baseline],
        failures=[*compress(failures, in_grid(failed, loaded.planned, axes) | all_rows)],
        outside="; ".join(filter(None, said)),
    )


def _placed(failures: Iterable[dict[str, Any]], loaded: Spec) -> list[dict[str, Any]]:
    """Return failures with a value for each axis: where the record does not say, by the row's key, else None."""
    # With fields among the axes, a part of a key stands for several cells, and each failure says its own.
    fields = any(axis.optional for axis in loaded.study.axes)
    cells = {} if fields else {cell_digest(cell): cell for cell in loaded.planned}
    nowhere = dict.fromkeys(axis.name for axis in loaded.study.axes)
    return [
        failure | {"cell": nowhere | cells.get(failure["row_key"].split("-")[0], {}) | failure["cell"]}
        for failure in failures
    ]
