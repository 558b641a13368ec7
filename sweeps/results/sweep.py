"""A sweep on storage, opened to be read: its spec, its rows, its failures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sweeps import spec as specs
from sweeps.errors import SpecError, StorageError
from sweeps.results.doubts import trusted
from sweeps.results.roles import roles_of
from sweeps.results.written_before import read_before, read_told
from sweeps.spec import Spec, recorded, studies
from sweeps.statistics.roles import Roles
from sweeps.storage import Store
from sweeps.storage.rows import completed, load_results, schema, split_location
from sweeps.study import Doubts


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is there of a sweep. `rows` are the grid's; `baseline` are those the study compares them with."""

    location: str
    store: Store
    spec: Spec
    rows: pd.DataFrame
    baseline: pd.DataFrame
    failures: list[dict[str, Any]]

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
        """The sweep without values that are in doubt, for figures and tests."""
        doubts = self.spec.study.doubts
        return replace(self, rows=trusted(self.rows, doubts), baseline=trusted(self.baseline, doubts))


class Rows(NamedTuple):
    """The rows of a sweep, and which parts their columns play; `remark` on a sweep that another version wrote.

    `doubts` as `Study.doubts`; the rows still have what is in doubt. `paired` as `Study.paired`.
    """

    rows: pd.DataFrame
    baseline: pd.DataFrame
    roles: Roles
    metrics: tuple[str, ...]
    doubts: Doubts
    remark: str = ""
    paired: bool = True


def find_store(location: str) -> tuple[Store, str]:
    """Return the storage of `<storage>/<name>`, and the name.

    Raises:
        StorageError: there is no sweep.
    """
    storage, name = split_location(location)
    store = Store(storage)
    if store.read_spec(name) is None:
        raise StorageError(f"{location}: found no spec.yaml there, expected the folder of a sweep, <storage>/<name>")
    return store, name


def find_sweep(location: str) -> tuple[Store, str, Spec]:
    """Return the storage of `<storage>/<name>`, the name, and the spec there; its rows are not read.

    Its study is what it declared when the sweep was last run, and is not imported. Of a sweep of before, where that was
    not kept, it is a registered one, or one that this process has imported anyway.

    Raises:
        StorageError: there is no sweep.
        SpecError: its spec is none, or none any more, or nothing is known of its study.
    """
    store, name = find_store(location)
    return store, name, recorded.read(store, name) or _parsed(store, name)


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
        return store, name, specs.parse(store.read_spec(name) or "", f"{location}/spec.yaml", changes)
    try:
        return store, name, _parsed(store, name)
    except SpecError:
        found = recorded.read(store, name)
        if found is None or found.engine.study in studies.registered():
            raise
        return store, name, found


def _parsed(store: Store, name: str) -> Spec:
    return specs.parse(store.read_spec(name) or "", store.describe(f"{name}/spec.yaml"), importing=False)


def open_rows(location: str) -> Rows:
    """Return the rows of a sweep, also of one whose spec is none any more. No study is imported for rows that say
    themselves what they are.

    Raises:
        StorageError: there is no sweep, or its rows are damaged.
        SpecError: its spec is none, and it has no rows.
    """
    try:
        store, name = find_store(location)
        found = recorded.read(store, name)
        if found is None:
            told = read_told(store, name)
            if told is not None:
                return Rows(told.rows, told.baseline, told.roles, told.metrics, told.doubts)
        sweep = _opened(location, store, name, found or _parsed(store, name))
    except SpecError as error:
        store, name = find_store(location)
        before = read_before(store, name)
        if before is None:
            raise
        cause = str(error).splitlines()[0]
        remark = f"{before.remark} ({cause})"
        return Rows(before.rows, before.baseline, before.roles, before.metrics, before.doubts, remark)
    study = sweep.spec.study
    return Rows(sweep.rows, sweep.baseline, sweep.roles, tuple(sweep.metrics), study.doubts, paired=study.paired)


def open_sweep(location: str, study: str | None = None) -> Sweep:
    """Open `<storage>/<name>` with its study, as `find_with_study` finds it.

    Raises:
        StorageError: there is no sweep, or its rows are damaged.
        SpecError: its spec is none, or none any more, or nothing is known of its study.
    """
    return _opened(location, *find_with_study(location, study))


def _opened(location: str, store: Store, name: str, loaded: Spec) -> Sweep:
    frame = completed(load_results(location), schema(loaded.study))
    axes = [axis.name for axis in loaded.study.axes]
    cells = [dict(zip(axes, values, strict=True)) for values in frame[axes].itertuples(index=False)]
    is_baseline = np.array([loaded.study.is_baseline(cell) for cell in cells], dtype=bool)
    return Sweep(
        location=location,
        store=store,
        spec=loaded,
        rows=frame[~is_baseline],
        baseline=frame[is_baseline],
        failures=list(store.failures(name)),
    )
