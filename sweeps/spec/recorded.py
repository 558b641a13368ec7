"""What a study declared when a sweep of it was run, kept beside the stored spec, so that readers need no study.

A stored spec is data, and may name any module. To read it is no reason to import that: `find(…, importing=False)` takes
what an installed package registers, or what the process has imported already. For all else there is a file `study.json`
in the sweep's folder, from which `read` makes a study that answers as the sweep's own did, and computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sweeps.errors import SpecError
from sweeps.spec.answers import asking
from sweeps.spec.axes.merging import Merged
from sweeps.spec.axes.reading import cells_of
from sweeps.spec.axes.sampling.draws import draws
from sweeps.spec.loading import Engine, Resources, Spec, mapping_of
from sweeps.spec.mistakes import validated
from sweeps.storage import Store
from sweeps.storage.backends import notices
from sweeps.storage.files import to_json
from sweeps.study import NONE, Axis, Cell, Doubts, Stage, Study, TradeOff

_KINDS: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}

Kind = Literal["str", "int", "float", "bool"]


class Declared(BaseModel):
    """The content of `study.json`. What a later version adds is left alone, and what an earlier one did not say is as
    in a study that does not declare it.
    """

    model_config = ConfigDict(frozen=True)

    axes: dict[str, Literal["str", "int", "float"]]
    stages: tuple[str, ...]
    row_axis: str
    replicate_axis: str
    panel_axis: str | None = None
    pruned: str | None = None
    columns: dict[str, Kind]
    metrics: dict[str, str]
    doubts: Doubts = {}
    trade_off: tuple[str, str, str, str] | None = None
    baselines: tuple[dict[str, Any], ...]
    replication: str | None = None
    remarks: tuple[str, ...] = ()
    # Sweeps of before have none of these.
    facts: dict[str, str] = {}
    paired: bool = True
    earlier: dict[str, str] = {}
    beside: dict[str, str] = {}
    fields: dict[str, Kind] = {}
    sampled: tuple[str, ...] = ()
    merged: tuple[Merged, ...] = ()
    baseline_name: str = Study.baseline_name


class Kept(BaseModel):
    """The settings of a study that is not here, as they are written."""

    model_config = ConfigDict(frozen=True, extra="allow")


class RecordedStudy(Study):
    """A study by what it declared; it is asked for no stage."""

    declared: Declared

    def baselines(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return those of the last run."""
        return [dict(cell) for cell in self.declared.baselines]

    def is_baseline(self, cell: Mapping[str, Any]) -> bool:
        """Say whether a cell is one of the last run, or has no value of an axis."""
        return dict(cell) in self.declared.baselines or NONE in cell.values()

    def replication(self, cells: Sequence[Cell]) -> str | None:
        """Return what was said at the last run."""
        return self.declared.replication

    def remarks(self, cells: Sequence[Cell]) -> Sequence[str]:
        """Return what was said at the last run."""
        return self.declared.remarks

    @property
    def paired(self) -> bool:
        """Whether tests are in blocks, as the last run was set."""
        return self.declared.paired

    def facts(self, cells: Sequence[Cell]) -> Mapping[str, str]:
        """Return what was told at the last run."""
        return self.declared.facts

    def stage(self, name: str, cell: Cell) -> Stage | None:
        """Refuse: keys are not known."""
        raise ValueError("the study of this sweep is known by what it declared alone")

    def galleries(self, *_: object) -> Any:
        """Refuse: pictures are the study's own work."""
        raise ValueError("the study of this sweep is not imported")

    def courses(self, *_: object) -> Any:
        """Return none: they are the study's own work, and what is said of pictures holds of them."""
        return []


def write(spec: Spec, store: Store) -> None:
    """Keep what the study of a spec declares beside the stored spec, in place of what an earlier run kept."""
    store.files.publish(_place(spec.name), declared(spec).model_dump_json(indent=1).encode() + b"\n", replace=True)


def read(store: Store, name: str) -> Spec | None:
    """Return a stored spec with what its study declared; None where that was not kept, or the two do not fit.

    Nothing is imported.

    Raises:
        SpecError: the spec is none.
    """
    text, kept = store.read_spec(name), read_declared(store, name)
    if text is None or kept is None:
        return None
    source = store.describe(f"{name}/spec.yaml")
    raw = mapping_of(text, source)
    try:
        engine = validated(Engine, _known(raw))
        settings = Kept.model_validate({str(key): raw[key] for key in raw if key not in Engine.model_fields})
        study = _study(kept, settings)
        drawn = [] if engine.sample is None else draws(engine.sample)
        cells = cells_of(engine.grid, study.axes, raw, drawn)
    except SpecError as error:
        raise SpecError(f"{source}: {error}") from error
    return Spec(engine=engine, study=study, settings=settings, cells=cells, merged=kept.merged)


def _known(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the engine's fields without those that only another version knows."""
    known = {key: value for key, value in raw.items() if key in Engine.model_fields}
    if isinstance(known.get("resources"), dict):
        known["resources"] = {
            key: known["resources"][key] for key in known["resources"] if key in Resources.model_fields
        }
    return known


def read_declared(store: Store, name: str) -> Declared | None:
    """Return what the study of a sweep declared at its last run; None where that was not kept, or says nothing now."""
    (said,) = store.files.look_into([_place(name)], "axes", lambda axes: isinstance(axes, dict))
    if said is None:
        return None
    try:
        return Declared.model_validate_json(to_json(said))
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        notices.say_once(
            f"{store.describe(_place(name))}: found no {field} that this version understands, expected what a study "
            "declares; it is left aside"
        )
        return None


def declared(spec: Spec) -> Declared:
    """Return what the study of a spec declares."""
    study, cells = spec.study, spec.cells
    with asking(study, "facts"):
        facts = dict(study.facts(cells))
    return Declared(
        axes={axis.name: _name_of(axis.kind) for axis in study.axes if not axis.optional},
        fields={axis.name: _name_of(axis.kind) for axis in study.axes if axis.optional},
        sampled=tuple(axis.name for axis in study.axes if axis.sampled),
        merged=spec.merged,
        stages=study.stages,
        row_axis=study.row_axis,
        replicate_axis=study.replicate_axis,
        panel_axis=study.panel_axis,
        pruned=study.pruned,
        columns={name: _name_of(kind) for name, kind in study.columns.items()},
        metrics=dict(study.metrics),
        doubts=dict(study.doubts),
        trade_off=None if study.trade_off is None else (*study.trade_off,),
        baselines=tuple(spec.baselines),
        replication=study.replication(cells),
        remarks=tuple(study.remarks(cells)),
        facts=facts,
        paired=study.paired,
        earlier=dict(study.earlier),
        beside=dict(study.beside),
        baseline_name=study.baseline_name,
    )


def _study(kept: Declared, settings: Kept) -> Study:
    own = {
        "declared": kept,
        "axes": (
            *(Axis(name, _KINDS[kind]) for name, kind in kept.axes.items()),
            *(
                Axis(name, _KINDS[kind], optional=True, sampled=name in kept.sampled)
                for name, kind in kept.fields.items()
            ),
        ),
        "stages": kept.stages,
        "row_axis": kept.row_axis,
        "replicate_axis": kept.replicate_axis,
        "panel_axis": kept.panel_axis,
        "pruned": kept.pruned,
        "columns": {name: _KINDS[kind] for name, kind in kept.columns.items()},
        "metrics": kept.metrics,
        "doubts": kept.doubts,
        "trade_off": None if kept.trade_off is None else TradeOff(*kept.trade_off),
        "earlier": kept.earlier,
        "beside": kept.beside,
        "baseline_name": kept.baseline_name,
    }
    made: type[Study] = type(RecordedStudy.__name__, (RecordedStudy,), own)
    return made(settings)


def _name_of(kind: type) -> Any:
    return kind.__name__


def _place(name: str) -> str:
    return f"{name}/study.json"
