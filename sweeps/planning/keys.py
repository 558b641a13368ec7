"""Names made of content: a key is a hash of everything that determines a result, and of nothing else."""

from __future__ import annotations

import hashlib
import json
import marshal
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sweeps.errors import SpecError
from sweeps.spec import answers
from sweeps.spec.conformance import check_stage, slots
from sweeps.spec.studies import plugin_of
from sweeps.study import Cell, Stage, Study

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


_MOST_TOLD = 100
"""Stages, at most, whose settings are kept as text: a study that declares each anew has no use for it."""


class RowKey(NamedTuple):
    """`cell` identifies the point of the grid, `inputs` what its metrics are computed from."""

    cell: str
    inputs: str

    def __str__(self) -> str:
        """Return the name of the row's file, without suffix."""
        return f"{self.cell}-{self.inputs}"


class StageKey(NamedTuple):
    """A stage of one cell. `shared` results are published under `key`; others are computed with their row.

    `reads` are the keys of the results that the stage is handed, in order; None where the cell does without one.
    `fields` are the settings it may look at, None: all; `axes` are those of the cell that it may look up.
    """

    name: str
    key: str
    shared: bool
    reads: tuple[str | None, ...] = ()
    fields: tuple[str, ...] | None = None
    axes: tuple[str, ...] = ()


class LastStage(NamedTuple):
    """The stage that makes a row: under which key, of which results, and what it may look at, as in `StageKey`."""

    key: RowKey
    reads: tuple[str | None, ...]
    fields: tuple[str, ...] | None


def digest(value: Any, *, length: int = 16) -> str:
    """Return `length` hexadecimal digits that depend on a JSON value alone (mappings: on content, not order).

    Raises:
        ValueError: the value holds NaN or infinity.
        TypeError: the value is not JSON.
    """
    return hashlib.sha256(_ENCODER.encode(value).encode()).hexdigest()[:length]


class Digests:
    """Digests of stages' inputs, as `digest` makes them of a list. Settings are written as JSON once where many stages
    have the same.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._texts: dict[bytes, str] = {}

    def of(self, version: Any, axes: Mapping[str, Any], settings: str, after: Any, *, length: int) -> str:
        """Return `digest([version, axes, settings, after], length=length)`, with settings as `text`; it raises what
        that does.
        """
        text = f"{self.text([version, axes])[:-1]},{settings},{_ENCODER.encode(after)}]"
        return hashlib.sha256(text.encode()).hexdigest()[:length]

    def text(self, settings: Any) -> str:
        """Return settings as JSON."""
        try:
            # The same bytes are the same JSON, to the kind of each number, and are made in a fifth of the time; of
            # version 2, which says nothing of which objects are one and the same.
            content = marshal.dumps(settings, 2)
        except ValueError:  # of other kinds, which JSON may know
            return _ENCODER.encode(settings)
        if content not in self._texts:
            self._texts[content] = _ENCODER.encode(settings)
        return self._texts[content]


def cell_digest(cell: Mapping[str, Any]) -> str:
    """Return the part of a row's key that identifies its cell. 0 and 0.0 are the same value."""
    return digest(
        {name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in cell.items()}
    )


class Keys:
    """The keys of a study's stages and rows. Stages that many cells share are hashed once."""

    def __init__(self, study: Study, other: Keys | None = None) -> None:
        """Name the results of `study`; `other` are keys of the same class with other settings."""
        self._study = study
        self._known: dict[tuple[Any, ...], StageKey] = {}
        self._values: dict[tuple[str, ...] | None, dict[str, Any]] = {}
        self._checked: set[tuple[Any, ...] | None] = set()
        self._plugin: dict[str, str] = {}
        self._stages: dict[StageKey, StageKey] = {}
        self._cells: dict[tuple[Any, ...], str] | None = None
        self._told: dict[int, tuple[Stage, str]] = {}
        self._digests: Digests = Digests() if other is None else other._digests
        if other is not None:
            self._checked, self._plugin, self._stages = other._checked, other._plugin, other._stages
            if other._cells is None:
                other._cells = {}
            self._cells = other._cells
        elif plugin := plugin_of(type(study).__module__, type(study).__qualname__):
            self._plugin = {"plugin": plugin}

    def stages(self, cell: Cell) -> list[StageKey]:
        """Return the stages a cell goes through before its row, in order."""
        found: list[StageKey] = []
        for name in self._study.stages[:-1]:
            stage = self._declared(name, cell)
            if stage is None:
                continue
            reads = self._reads(name, stage, found)
            # The settings of a stage may depend on the cell, but not on axes that the stage does not name.
            identity = (name, stage.axes, tuple([cell[axis] for axis in stage.axes]), reads, stage.fields)
            known = self._known.get(identity)
            if known is None:
                axes = {axis: cell[axis] for axis in stage.axes}
                key = f"{name}-{self._digest(name, stage, axes, _after(reads), length=20)}"
                shared = {each.key for each in found if each.shared}
                is_shared = self._study.row_axis not in stage.axes and shared.issuperset(filter(None, reads))
                known = StageKey(name, key, is_shared, reads, stage.fields, stage.axes)
                # Rows of a large grid keep few objects that way.
                known = self._known[identity] = self._stages.setdefault(known, known)
            found.append(known)
        return found

    def row(self, cell: Cell, stages: Sequence[StageKey]) -> RowKey:
        """Return the key of a cell's row, given its stages."""
        return self.last(cell, stages).key

    def last(self, cell: Cell, stages: Sequence[StageKey]) -> LastStage:
        """Return the last stage of a cell, given those before it."""
        name = self._study.stages[-1]
        stage = self._declared(name, cell)
        assert stage is not None, "what is declared was checked"
        axes = {axis: cell[axis] for axis in stage.axes}
        inputs = self._digest(name, stage, axes, [each.key for each in stages])
        return LastStage(RowKey(self._cell_digest(cell), inputs), self._reads(name, stage, stages), stage.fields)

    def _cell_digest(self, cell: Cell) -> str:
        """Return the digest of a cell, of which there are rows for many settings if other keys know it too."""
        if self._cells is None:
            return cell_digest(cell)
        values = tuple(cell.values())
        if values not in self._cells:
            self._cells[values] = cell_digest(cell)
        return self._cells[values]

    def _declared(self, name: str, cell: Cell) -> Stage | None:
        """Return what the study declares of a stage of a cell.

        Raises:
            SpecError: that cannot be computed.
        """
        with answers.asking(self._study, "stage"):
            stage = self._study.stage(name, cell)
        alike: tuple[Any, ...] | None
        if isinstance(stage, Stage):
            alike = (name, stage.axes, stage.fields, stage.reads)
        else:
            alike = (name, None) if stage is None else None
        try:
            if alike in self._checked:
                return stage
        except TypeError:  # a list where a tuple is expected
            alike = None
        check_stage(self._study, name, stage, cell)
        self._checked.add(alike)
        return stage

    def _digest(self, name: str, stage: Stage, axes: Mapping[str, Any], after: Any, *, length: int = 16) -> str:
        try:
            _, settings = self._told.get(id(stage), (stage, None))
            if settings is None:
                settings = self._digests.text(self._settings(stage))
                if len(self._told) < _MOST_TOLD:
                    self._told[id(stage)] = (stage, settings)
            return self._digests.of(stage.version, axes, settings, after, length=length)
        except (TypeError, ValueError) as error:
            raise SpecError(
                f"study: {type(self._study).__name__}.stage({name!r}): {error}, expected a version and settings of "
                "texts, finite numbers, lists and mappings alone"
            ) from error

    def _reads(self, name: str, stage: Stage, before: Sequence[StageKey]) -> tuple[str | None, ...]:
        if stage.reads is None:
            return tuple([before[-1].key if before else None][: slots(self._study, name, stage)])
        keys = {each.name: each.key for each in before}
        return tuple(keys.get(read) for read in stage.reads)

    def _settings(self, stage: Stage) -> dict[str, Any]:
        """Return what is hashed of the settings."""
        if stage.settings is not None:
            return {**stage.settings, **self._plugin}
        if stage.fields not in self._values:
            dumped = self._study.settings.model_dump(mode="json")
            paths = [*dumped] if stage.fields is None else stage.fields
            self._values[stage.fields] = {path: _at(dumped, path) for path in paths}
        return {**self._values[stage.fields], **self._plugin}


def _after(reads: Sequence[str | None]) -> str | list[str]:
    """Return what stands in a key for the results that are read."""
    there = [key for key in reads if key is not None]
    if len(there) > 1:
        return there
    return there[0] if there else ""


def _at(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for part in path.split("."):
        found = found[part] if found is not None else None
    return found
