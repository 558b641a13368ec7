"""Studies of all shapes: without shared stages, of one stage, of five, with a shared stage after a row's own one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from sweeps import load_results, running, spec
from sweeps.engine import tasks
from sweeps.engine.job import job_of
from sweeps.errors import StudyError
from sweeps.planning import plan
from sweeps.planning.plan import Plan, Row
from sweeps.reporting.terminal import plan as view
from sweeps.spec import Spec
from sweeps.storage import Store
from sweeps.study import Axis, Cell, Checkpoint, Stage, Study
from tests.sweeps.conftest import text

SPEC = f"""\
name: shape
study: {__name__}:NAME
grid: {{kind: [a, b], seed: [0, 1], part: [0, 1]}}
"""
EVERY = ("kind", "seed", "part")


class Base(Study):
    """What the studies below have in common: each result is the sum of what it reads, and one more."""

    class Settings(BaseModel):
        model_config = ConfigDict(frozen=True)
        rate: float = 0.5
        noise: float = 0.0

    axes: ClassVar = (Axis("kind", str), Axis("seed", int), Axis("part", int))
    row_axis: ClassVar = "part"
    replicate_axis: ClassVar = "seed"
    columns: ClassVar = {"total": float}
    metrics: ClassVar = {"total": "total"}
    declared: ClassVar[dict[str, Stage]] = {}

    def stage(self, name: str, cell: Cell) -> Stage | None:
        return self.declared.get(name, super().stage(name, cell))

    def add(self, cell: Cell, *given: Any) -> dict[str, Any]:
        *results, _ = given
        return {"sum": np.array([1.0 + sum(float(result["sum"][0]) for result in results if result is not None)])}

    def measure(self, cell: Cell, *given: Any) -> dict[str, Any]:
        return {"total": float(self.add(cell, *given)["sum"][0]) + float(cell["part"])}


class One(Base):
    stages: ClassVar = ("measure",)


class Own(Base):
    """No shared stage: pretraining depends on the row axis."""

    stages: ClassVar = ("pretrain", "measure")
    pretrain = Base.add
    declared: ClassVar = {"pretrain": Stage(EVERY)}


class SharedAfterOwn(Base):
    """`extra` leaves out the row axis and reads nothing, so it is shared though a row's own stage comes before it."""

    stages: ClassVar = ("start", "own", "extra", "measure")
    start = own = extra = Base.add
    declared: ClassVar = {
        "start": Stage(()),
        "own": Stage(EVERY),
        "extra": Stage(("kind",), reads=("start",)),
        "measure": Stage(EVERY, reads=("own", "extra")),
    }


class ReadsOwn(Base):
    """`extra` leaves out the row axis, but what it reads is of a row: so is its own result."""

    stages: ClassVar = ("own", "extra", "measure")
    own = extra = Base.add
    declared: ClassVar = {"own": Stage(EVERY), "extra": Stage(("kind",))}


class Five(Base):
    stages: ClassVar = ("first", "second", "third", "fourth", "measure")
    first = second = third = fourth = Base.add
    declared: ClassVar = {
        "first": Stage(()),
        "second": Stage(("seed",)),
        "third": Stage(("kind",), reads=("first",)),
        "fourth": Stage(("kind", "seed"), reads=("second", "third")),
        "measure": Stage(EVERY, reads=("fourth", "first")),
    }


SHAPES = {
    "One": ([], 1.0),
    "Own": ([], 2.0),
    "SharedAfterOwn": (["start", "extra", "extra"], 1 + 2 + 2.0),
    "ReadsOwn": ([], 3.0),
    # first 1, second 2, third 2, fourth 5, and the first again.
    "Five": (["first"] + 2 * ["second"] + 2 * ["third"] + 4 * ["fourth"], 1 + 5 + 1.0),
}


def load(name: str) -> Spec:
    return spec.parse(SPEC.replace("NAME", name), "shape.yaml")


def compute(loaded: Spec, store: Store, planned: Plan, **options: Any) -> list[tuple[Row, tasks.Outcome]]:
    """Compute what a plan lacks, in this process."""
    job = job_of(loaded, store, **options)
    store.write_spec(loaded.name, loaded.to_yaml())
    outcomes = []
    for trial in planned.todo:
        stages = {stage.key: stage for stage in trial.shared}
        missing = trial.missing(planned.checkpoints)
        for key in [key for key in stages if key in missing]:
            stage = stages[key]
            results = [None if read is None else store.load_checkpoint(read) for read in stage.reads]
            cell = trial.cell_of(stage)
            tasks.compute_stage(
                job, stage.name, key, cell, *results, reads=stage.reads, fields=stage.fields, axes=stage.axes
            )
        metas = {key: store.checkpoint_meta(key) or {} for key in stages}
        for row in trial.rows:
            keys = [key for key in stages if key in row.read]
            read = [read for read in map(store.load_checkpoint, keys) if read is not None]
            assert len(read) == len(keys)
            outcomes.append((row, tasks.compute_row(job, row, metas, 1, True, keys, *read)))
    return outcomes


@pytest.mark.parametrize("name", SHAPES)
def test_a_study_of_any_shape_is_planned_computed_and_read(name: str, store: Store, console: Console) -> None:
    loaded = load(name)
    shared, total = SHAPES[name]
    planned = plan.make(loaded, store)
    assert sorted(planned.checkpoints_to_train().values()) == sorted(shared)
    view.show_plan(loaded, store, planned, console)
    assert "rows: 0 finished, 8 missing" in text(console)
    assert [outcome.failure for _, outcome in compute(loaded, store, planned)] == 8 * [None]
    rows = load_results(store.describe("shape"))
    assert (rows["total"] - rows["part"]).tolist() == 8 * [total]
    assert [column for column in rows if column in {f"{stage}_s" for stage in loaded.study.stages}] == [
        f"{stage}_s" for stage in loaded.study.stages[:-1]
    ]
    assert rows["checkpoint_key"].notna().all() == bool(shared)
    again = plan.make(loaded, store)
    assert (len(again.finished), again.todo, again.checkpoints_to_train()) == (8, [], {})


def test_keys_hold_the_values_of_the_settings_that_are_declared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def keys(noise: float) -> list[str]:
        loaded = spec.parse(SPEC.replace("NAME", "One") + f"noise: {noise}", "shape.yaml")
        return [str(row.key) for trial in plan.trials(loaded) for row in trial.rows]

    assert keys(0.0) != keys(1.0)
    monkeypatch.setattr(One, "declared", {"measure": Stage(EVERY, fields=("rate",))})
    assert keys(0.0) == keys(1.0)


def test_a_setting_that_is_not_declared_is_named_and_no_row_is_to_blame(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(study: Base, cell: Cell, progress: object) -> dict[str, float]:
        return {"total": study.settings.rate + study.settings.noise}

    monkeypatch.setattr(One, "measure", noisy)
    loaded = load("One")
    assert [outcome.failure for _, outcome in compute(loaded, store, plan.make(loaded, store))] == 8 * [None]
    monkeypatch.setattr(One, "declared", {"measure": Stage(EVERY, fields=("rate",), version=2)})
    other = Store(f"{store.location}-other")
    with pytest.raises(StudyError) as caught:
        compute(loaded, other, plan.make(loaded, other))
    assert str(caught.value) == (
        "stage 'measure' reads the setting 'noise', which it does not declare: expected it in Stage.fields"
    )
    assert other.failure_keys("shape") == set()


def test_an_axis_that_is_not_declared_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared result must not follow the cell of whichever trial computes it first."""

    def peeking(study: Base, cell: Cell, first: Checkpoint, progress: object) -> Checkpoint:
        return {"sum": np.array([float(cell["seed"]), float(cell["kind"] == "a")])}

    monkeypatch.setattr(Five, "second", peeking)
    loaded = load("Five")
    with pytest.raises(StudyError) as caught:
        compute(loaded, store, plan.make(loaded, store))
    assert str(caught.value) == (
        "stage 'second' reads the axis 'kind', which it does not declare: expected it in Stage.axes"
    )
    assert store.failure_keys("shape") == set()


def test_a_stage_that_hands_on_no_arrays_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Five, "second", lambda study, cell, first, progress: {"sum": [1.0]})
    loaded = load("Five")
    with pytest.raises(StudyError, match="stage 'second': found a dict, expected named arrays"):
        compute(loaded, store, plan.make(loaded, store))


def test_the_command_plans_a_study_of_one_stage(tmp_path: Path, console: Console) -> None:
    running.prepare(load("One"), Store(str(tmp_path)), console)
