"""What a user asks to measure again of a sweep, made into the spec of a sweep of its own beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import create_model

from sweeps import spec as specs
from sweeps.errors import SpecError, StorageError
from sweeps.planning.measured import SETTINGS, in_words, name_of
from sweeps.results.rows.selection import selected
from sweeps.results.sweep import Sweep, measured_name, open_sweep
from sweeps.spec import Spec, plain_yaml
from sweeps.spec.axes.values import LABEL
from sweeps.spec.axes.varied import fields_of
from sweeps.spec.loading import mapping_of
from sweeps.spec.mistakes import validated
from sweeps.spec.recorded import RecordedStudy
from sweeps.storage import Store
from sweeps.study import Measurement, Study

OPTION = "--attack"
"""Of the command line, for messages: what studies mostly measure under."""


class Asked(NamedTuple):
    """What is to be measured, and sentences on it."""

    store: Store
    spec: Spec
    remarks: list[str]


def asked_of(
    location: str,
    given: Sequence[str | Mapping[str, Any]],
    *,
    where: str | None = None,
    name: str | None = None,
    study: str | None = None,
) -> Asked:
    """Return the sweep of measurements, with all that was asked for before: what is there is not measured again.

    Args:
        location: `<storage>/<name>` of the sweep whose rows have kept files.
        given: under what to measure, each the name of a thing that the study knows or a mapping of its settings, with
            an optional `label`; texts are YAML. None: what was asked for before.
        where: a condition on its rows; None: all that have kept files.
        name: of the sweep of measurements.
        study: see `results.sweep.open_sweep`.

    Raises:
        SpecError: the study measures nothing again, or what is asked for is wrong.
        StorageError: no sweep, or no row that is asked for has kept files.
    """
    sweep = open_sweep(location, study)
    measurement = _measurement(sweep)
    labelled = _labelled(given, measurement, sweep.spec.study)
    rows, remarks = _with_files(sweep, where)
    # Processes of a cluster may have another working directory.
    store, target = sweep.store, name or measured_name(sweep.spec.name)
    storage = store if "://" in store.location else Store(str(Path(store.location).absolute()))
    kept_in, measures = storage.describe(sweep.spec.name), name_of(sweep.spec.engine.study)
    before, cells = _before(store, target, measures=measures, axis=measurement.axis.name)
    if not labelled and not before:
        raise SpecError(f"{OPTION}: found none, expected at least one that rows are to be measured under")
    for label, settings in labelled.items():
        if before.get(label, settings) != settings:
            raise SpecError(
                f"{OPTION}: found the label {label!r} of {in_words(settings)}, but rows in "
                f"{store.describe(target)} have it that were measured under {in_words(before[label])}, expected "
                "another one ({label: …})"
            )
    cells += [cell | {measurement.axis.name: label} for cell in _cells(rows, sweep.spec) for label in labelled]
    resolved = {
        "name": target,
        "study": measures,
        "description": f"what rows of {sweep.spec.name} have kept, measured again",
        "resources": sweep.spec.engine.resources.model_dump(),
        "sweep": kept_in,
        "under": before | labelled,
        "settings": sweep.spec.settings.model_dump(mode="json"),
        "grid": {"include": [*{json.dumps(cell): cell for cell in cells}.values()]},
    }
    fields = fields_of(sweep.spec.study)
    if fields:
        resolved["fields"] = {field.path: dict(field.settings) for field in fields}
    remarks += [f"{measurement.axis.name} {label}: {in_words(settings)}" for label, settings in labelled.items()]
    return Asked(store, specs.parse(plain_yaml.write(resolved), store.describe(target)), remarks)


def _cells(rows: pd.DataFrame, spec: Spec) -> list[dict[str, Any]]:
    """Return the cells of rows, for a grid: of fields of settings that are axes, the setting of each, under the path
    that it has in measurements. One that does not matter to a row, or is null anyway, is left as the spec has it.
    """
    fields = fields_of(spec.study)
    own = [axis.name for axis in spec.study.axes if not axis.optional]
    nullable = {field.path for field in fields if any(cell[field.path] is None for cell in spec.cells)}
    cells: list[dict[str, Any]] = []
    for row in rows.to_dict("records"):
        cell: dict[str, Any] = {name: row[name] for name in own}
        for field in fields:
            path = f"{SETTINGS}.{field.path}"
            if not pd.isna(row[field.path]):
                value = field.axis.kind(row[field.path])
                setting = field.setting(value)
                cell[path] = {LABEL: value, **setting} if isinstance(setting, Mapping) else setting
            elif field.path in nullable:
                cell[path] = None
        cells.append(cell)
    return cells


def _measurement(sweep: Sweep) -> Measurement:
    own, named = sweep.spec.study, sweep.spec.engine.study
    if named.startswith(name_of("")):
        raise SpecError(
            f"{sweep.location}: found measurements, expected the sweep whose rows have kept what is measured"
        )
    if isinstance(own, RecordedStudy):
        raise SpecError(
            f"{sweep.location}: its study {named!r} is of no installed package; name it with --study {named}"
        )
    if own.measurement is None:
        raise SpecError(
            f"{sweep.location}: found the study {named!r}, which measures nothing again that its rows have kept, "
            "expected one that does"
        )
    if not own.files:
        raise StorageError(
            f"{sweep.location}: found rows that have kept nothing to measure, expected a sweep that was run with "
            f"{own.measurement.kept_by} (sweeps run … --set {own.measurement.kept_by} --set name=…)"
        )
    return own.measurement


def _labelled(
    given: Sequence[str | Mapping[str, Any]], measurement: Measurement, study: Study
) -> dict[str, dict[str, Any]]:
    """Return the settings of what is asked for, all of them, by label."""
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        option = f"{OPTION} {text!r}"
        raw = plain_yaml.read(text, option) if isinstance(text, str) else dict(text)
        said = {"name": raw} if isinstance(raw, str) else raw
        if not isinstance(said, dict):
            raise SpecError(f"{option}: expected a name, or a mapping of settings such as '{{name: …, {LABEL}: …}}'")
        own = dict(study.measured_under)
        label = said.pop(LABEL, None) or _label({"name": own.get("name"), **said})
        if not isinstance(label, str):
            raise SpecError(f"{option}: {LABEL}: found {label!r}, expected text")
        if said.get("name", own.get("name")) == own.get("name"):
            said = own | said
        settings = _checked(said, measurement, option)
        if found.get(label, settings) != settings:
            raise SpecError(f"{option}: found the label {label!r} a second time, expected another one ({{{LABEL}: …}})")
        found[label] = settings
    return found


def _label(said: Mapping[str, Any]) -> str:
    """Return what is asked for as it was written, where it has no label: `pgd steps=50`."""
    others = (f"{key}={value}" for key, value in said.items() if key != "name")
    return " ".join([str(said["name"]), *others])


def _checked(said: Mapping[str, Any], measurement: Measurement, option: str) -> dict[str, Any]:
    """Return settings with all that goes without saying.

    Raises:
        SpecError: they are none.
    """
    # In a list, since no sentence on what is in one tells of --set.
    name: str = measurement.axis.name
    model: Any = create_model("Asked", **{name: (list[measurement.settings], ...)})  # type: ignore[call-overload,name-defined]
    try:
        (valid,) = getattr(validated(model, {name: [dict(said)]}), name)
    except SpecError as error:
        sentences = (line.removeprefix(f"{name}[0]").lstrip(".: ") for line in str(error).splitlines())
        raise SpecError("\n".join(f"{option}: {sentence}" for sentence in sentences)) from error
    return dict(valid.model_dump(mode="json"))


def _with_files(sweep: Sweep, where: str | None) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that are asked for and have left all their files, and a sentence on those that have not."""
    study, name = sweep.spec.study, sweep.spec.name
    rows = pd.concat([sweep.baseline, sweep.rows], ignore_index=True)
    if rows.empty:
        raise StorageError(f"{sweep.location}: found no rows, expected some that have kept what is to be measured")
    wanted = selected(rows, where, along=study.row_axis)
    there = set(wanted["row_key"])
    for folder, endings in study.files.items():
        for ending in endings:
            there &= sweep.store.rows_with_files(name, folder, ending)
    kept = wanted[wanted["row_key"].isin(there)]
    if kept.empty:
        raise StorageError(
            f"{sweep.location}: found {len(wanted)} rows and no files that they have kept, expected some: rows that "
            "were finished without them get none"
        )
    without = len(wanted) - len(kept)
    return kept, [f"{without} of {len(wanted)} rows have kept no files, and are not measured"] if without else []


def _before(store: Store, target: str, *, measures: str, axis: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what was asked for before, by label, and of which cells.

    Raises:
        StorageError: there is another sweep of that name.
    """
    text, place = store.read_spec(target), store.describe(target)
    if text is None:
        return {}, []
    raw = mapping_of(text, f"{place}/spec.yaml")
    if raw.get("study") != measures:
        raise StorageError(
            f"{place}: found a sweep of the study {raw.get('study')!r}, expected measurements or nothing; "
            "--name gives measurements another name"
        )
    return dict(raw["under"]), list(raw["grid"]["include"])
