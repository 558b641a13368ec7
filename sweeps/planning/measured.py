"""Files that rows of a sweep have kept, measured again: a study whose rows are those, each under what a user asks for.

A spec names it after the study of that sweep, `sweeps.planning.measured:detection`; so all that is true of a sweep is
true of measurements: they are planned, shared among workers, resumed, analysed and reported as any rows are.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, create_model

from sweeps.errors import SpecError
from sweeps.spec.axes.values import at
from sweeps.spec.studies import find, plugin_of
from sweeps.storage import Store
from sweeps.storage.rows import read_all, split_location
from sweeps.study import Axis, Cell, Files, Measurement, Progress, Stage, Study, Value

SETTINGS = "settings"
"""The field of measurements' settings that has those of the study whose rows are measured."""


class Kept(NamedTuple):
    """A row that has left files, and how the names of these begin.

    `fields` are its values of fields of settings that are axes, by path; null is any.
    """

    row_key: str
    files_key: str
    fields: Mapping[Any, Value | None]


class MeasuredSettings(BaseModel):
    """Which rows are measured. The classes made of this one also have `under`, by label, and `settings`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sweep: str = Field(description="folder of the sweep whose rows have left the files, <storage>/<name>")
    fields: dict[str, dict[str, Any]] = Field(
        default={}, description="fields of settings that are its axes, by path: what the labels in its rows stand for"
    )


class MeasuredStudy(Study):
    """Measures what rows of another study have kept. The classes made of this one say of which."""

    source_class: ClassVar[type[Study]]
    of: ClassVar[Measurement]
    stages: ClassVar = ("measure",)

    # What the engine asks before anything runs

    @functools.cached_property
    def source(self) -> Study:
        """The study whose rows have left the files."""
        return self.source_class(self.settings.settings)

    def own_cell(self, cell: Mapping[str, Any]) -> Cell:
        """Return the cell of the row that is measured."""
        return {axis.name: cell[axis.name] for axis in self.source_class.axes}

    def is_baseline(self, cell: Mapping[str, Any]) -> bool:
        """Say whether the row that is measured is a baseline."""
        return self.source.is_baseline(self.own_cell(cell))

    @property
    def paired(self) -> bool:
        """Whether rows of one replicate belong together, as those that are measured do."""
        return self.source.paired

    def replication(self, cells: Sequence[Cell]) -> str | None:
        """Return what differs between those that are measured."""
        return self.source.replication(self._own_cells(cells))

    def remarks(self, cells: Sequence[Cell]) -> Sequence[str]:
        """Return what is to be known of those that are measured."""
        return self.source.remarks(self._own_cells(cells))

    def facts(self, cells: Sequence[Cell]) -> Mapping[str, str]:
        """Return what was done before, and under what it is measured now."""
        asked = [f"{label} ({in_words(each.model_dump(mode='json'))})" for label, each in self.settings.under.items()]
        return {**self.source.facts(self._own_cells(cells)), self.of.axis.name: "; ".join(asked)}

    def stage(self, name: str, cell: Cell) -> Stage | None:
        """Declare what a measurement depends on."""
        asked, kept = self._asked(cell), self._kept_by(cell)
        inputs = {"row": kept.row_key, "files": kept.files_key, "under": asked.model_dump(mode="json")}
        plugin = plugin_of(self.source_class.__module__, self.source_class.__qualname__)
        inputs |= {"inputs": self._inputs(str(cell[self.of.axis.name]))}
        return Stage(tuple(axis.name for axis in self.axes), inputs | ({} if plugin is None else {"of": plugin}))

    def code(self, name: str, cell: Cell) -> Mapping[str, Sequence[str]]:
        """Return the module of the study that measures."""
        return {"study": [self.source_class.__module__]}

    # The stage

    def measure(self, cell: Cell, progress: Progress) -> dict[str, Any]:
        """Measure what a row has kept."""
        start, kept, asked = time.perf_counter(), self._kept_by(cell), self._asked(cell)
        store, sweep = self._place
        try:
            files: dict[str, Files] = {
                name: {ending: store.files.read(f"{sweep}/{name}/{kept.files_key}{ending}") for ending in endings}
                for name, endings in self.source.files.items()
            }
        except FileNotFoundError as error:
            raise ValueError(
                f"{self.settings.sweep}: found no files of the row {kept.row_key} any more, expected those it has left"
            ) from error
        return {
            **self.source.measure_kept(self.own_cell(cell), files, asked),
            f"{self.of.axis.name}_settings": json.dumps(asked.model_dump(mode="json")),
            "source_row_key": kept.row_key,
            "source_files_key": kept.files_key,
            "measure_s": time.perf_counter() - start,
        }

    # Parts

    def _own_cells(self, cells: Sequence[Cell]) -> list[Cell]:
        own = {tuple(cell.values()): cell for cell in map(self.own_cell, cells) if not self.source.is_baseline(cell)}
        return [*own.values()]

    def _asked(self, cell: Mapping[str, Any]) -> Any:
        label = cell[self.of.axis.name]
        if label not in self.settings.under:
            raise ValueError(
                f"grid.{self.of.axis.name}: found {label!r}, expected one of {', '.join(self.settings.under)}"
            )
        return self.settings.under[label]

    def _inputs(self, label: str) -> dict[str, Any]:
        """Return what determines measurements under a label; once, for whole files may be read."""
        if label not in self._known:
            self._known[label] = dict(self.source.measuring(self.settings.under[label]))
        return self._known[label]

    @functools.cached_property
    def _known(self) -> dict[str, dict[str, Any]]:
        return {}

    def _kept_by(self, cell: Mapping[str, Any]) -> Kept:
        """Return the row of a cell, or say that there is none.

        Raises:
            ValueError: there is none.
        """
        own, known = self.own_cell(cell), self.settings.fields
        settings = self.settings.settings.model_dump(mode="json") if known else {}
        asked = {path: at(settings, path) for path in known}
        fits = (
            (sum(value is not None for value in each.fields.values()), each)
            for each in self._rows.get(tuple(own.values()), ())
            if all(value is None or known[path].get(value, value) == asked[path] for path, value in each.fields.items())
        )
        # The settings of a row may be null, which is any other row's that it does not matter to.
        _, kept = max(fits, key=lambda fit: fit[0], default=(0, None))
        if kept is None:
            said = ", ".join(f"{axis} {value}" for axis, value in {**own, **asked}.items())
            raise ValueError(f"{self.settings.sweep}: found no row of {said}, expected one that is finished")
        return kept

    @functools.cached_property
    def _place(self) -> tuple[Store, str]:
        storage, name = split_location(self.settings.sweep)
        return Store(storage), name

    @functools.cached_property
    def _rows(self) -> dict[tuple[Any, ...], list[Kept]]:
        """The rows of each cell of the study's own axes."""
        found = read_all(*self._place)
        if found is None:
            return {}
        rows = found[0]
        # Rows of versions that named files by the row say nothing there.
        begin = rows["files_key"].fillna(rows["row_key"]) if "files_key" in rows else rows["row_key"]
        cells = zip(*(rows[axis.name].tolist() for axis in self.source_class.axes), strict=True)
        there = [path for path in self.settings.fields if path in rows]
        fields = rows[there].astype(object).where(rows[there].notna(), None).to_dict("records")
        by_cell: dict[tuple[Any, ...], list[Kept]] = {}
        for cell, kept in zip(cells, map(Kept, rows["row_key"], begin, fields), strict=True):
            by_cell.setdefault(cell, []).append(kept)
        return by_cell


def name_of(study: str) -> str:
    """Return the name, for a spec, of the study that measures what rows of the study of that name have kept."""
    return f"{__name__}:{study}"


def in_words(settings: Mapping[str, Any]) -> str:
    """Return what is asked for in a few words: `pgd, epsilon 0.03, steps 50`."""
    told = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in settings.items()}
    named = [told.pop("name")] if "name" in told else []
    return ", ".join([*named, *(f"{key} {value}" for key, value in told.items())])


def __getattr__(name: str) -> type[MeasuredStudy]:
    """Return the study that measures what rows of the study called `name` have kept, made when it is first named."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = _made_of(find(name))
    globals()[name] = made
    return made


def _made_of(source: type[Study]) -> type[MeasuredStudy]:
    measurement = source.measurement
    if measurement is None:
        raise SpecError(f"study: {source.__name__} measures nothing that its rows have kept")
    asked: Any = dict[str, measurement.settings]  # type: ignore[name-defined]
    settings = create_model(
        f"Measured{source.Settings.__name__}",
        __base__=MeasuredSettings,
        under=(asked, Field(description="what is asked for, by the labels that rows have")),
        settings=(source.Settings, Field(description="of the study whose rows have left the files")),
    )
    columns = {
        **measurement.columns,
        f"{measurement.axis.name}_settings": str,
        "source_row_key": str,
        "source_files_key": str,
        "measure_s": float,
    }
    metrics = {name: label for name, label in source.metrics.items() if name in columns}
    trade_off = source.trade_off
    return type(
        f"Measured{source.__name__}",
        (MeasuredStudy,),
        {
            "__module__": __name__,
            "__doc__": f"What rows of a {source.__name__} have kept, measured again.",
            "source_class": source,
            "of": measurement,
            "Settings": settings,
            # Which values there may be is known of the rows: those of baselines are among them.
            "axes": (*(Axis(axis.name, axis.kind, meaning=axis.meaning) for axis in source.axes), measurement.axis),
            "row_axis": source.row_axis,
            "replicate_axis": source.replicate_axis,
            "panel_axis": source.panel_axis,
            "pruned": source.pruned,
            "columns": columns,
            "metrics": metrics,
            "beside": {one: other for one, other in source.beside.items() if {one, other} <= metrics.keys()},
            "doubts": {
                name: marks
                for name, marks in source.doubts.items()
                if {name, *([marks] if isinstance(marks, str) else marks)} <= columns.keys()
            },
            "meanings": {name: said for name, said in source.meanings.items() if name in columns}
            | dict(measurement.meanings)
            | {
                f"{measurement.axis.name}_settings": "all that was asked for, in JSON",
                "source_row_key": "row that left what is measured",
                "source_files_key": "how the names of its files begin",
                "measure_s": "measuring; seconds",
            },
            "baseline_name": source.baseline_name,
            "trade_off": trade_off
            if trade_off is not None and {trade_off.against, trade_off.metric} <= metrics.keys()
            else None,
        },
    )
