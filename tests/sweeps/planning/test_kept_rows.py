"""A sweep that gains a field as an axis keeps its rows, and every row says what the field was."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweeps import load_results
from sweeps.errors import StorageError
from sweeps.planning import kept_rows, plan
from sweeps.results.sweep import open_sweep
from sweeps.spec import recorded
from tests.support.layered_sweep import LayeredSweep

PLAIN = 1 + 8
"""Rows of the grid without fields."""


@pytest.fixture
def sweep(tmp_path: Path) -> LayeredSweep:
    return LayeredSweep(tmp_path)


def cells(frame: pd.DataFrame, *columns: str) -> set[tuple[Any, ...]]:
    values: Iterable[tuple[Any, ...]] = (
        frame[list(columns)].astype(object).where(frame.notna(), None).itertuples(index=False, name=None)
    )
    return set(values)


def test_rows_of_before_get_the_value_that_was_in_force(sweep: LayeredSweep) -> None:
    sweep.run("growing.epochs=2")
    before = sweep.heights()
    found = sweep.plan("growing.epochs=2", "grid.growing.epochs=[2, 3]")
    assert [*found.kept.sentences()] == [
        "grid.growing.epochs is new to this sweep: 9 rows that are there were computed with 2, and kept"
    ]
    assert (len(found.finished), found.missing, found.changed) == (PLAIN, PLAIN, set())
    sweep.run("grid.growing.epochs=[2, 3]")
    assert sweep.made == 2 * PLAIN
    assert before.items() <= sweep.heights().items()
    assert sweep.read()["growing.epochs"].value_counts().to_dict() == {2: PLAIN, 3: PLAIN}
    assert sweep.read()["growing.epochs"].dtype == "int64"
    loaded = load_results(sweep.folder / "layered")
    assert list(loaded)[:5] == ["method", "seed", "dose", "growing.epochs", "height"]
    assert len(loaded) == 2 * PLAIN


def test_rows_are_not_written_again_where_nothing_is_new(sweep: LayeredSweep) -> None:
    sweep.run("grid.growing.epochs=[2, 3]")
    before = sweep.files()
    found = sweep.run("grid.growing.epochs=[3, 2]")
    assert (found.kept.columns, [*found.kept.sentences()]) == ({}, [])
    assert sweep.files() == before


def test_a_run_that_was_killed_while_it_added_columns_goes_on(sweep: LayeredSweep) -> None:
    sweep.run("growing.epochs=2")
    loaded = sweep.load("growing.epochs=1", "grid.growing.epochs=[2, 3]")
    found = plan.make(loaded, sweep.store)
    some = dict([*found.kept.columns.items()][:4])
    kept_rows.publish(loaded, sweep.store, found.kept._replace(columns=some), {})
    assert len(load_results(sweep.folder / "layered")) == PLAIN, "the sweep can be read meanwhile"
    left = sweep.plan("growing.epochs=1", "grid.growing.epochs=[2, 3]")
    assert left.kept.columns.keys() == found.kept.columns.keys() - some.keys()
    sweep.run("growing.epochs=1", "grid.growing.epochs=[2, 3]")
    assert sweep.read()["growing.epochs"].value_counts().to_dict() == {2: PLAIN, 3: PLAIN}


def test_a_field_that_turns_out_not_to_matter_is_null(sweep: LayeredSweep) -> None:
    sweep.run("grid.tuning.rounds=[1]")
    assert cells(sweep.read(), "method", "tuning.rounds") == {("none", 1), ("plain", 1), ("tuned", 1)}
    sweep.run("grid.tuning.rounds=[1, 2]")
    assert sweep.made == PLAIN + 4
    assert cells(sweep.read(), "method", "tuning.rounds") == {
        ("none", None),
        ("plain", None),
        ("tuned", 1),
        ("tuned", 2),
    }
    assert len(load_results(sweep.folder / "layered")) == PLAIN + 4


def test_rows_of_values_that_left_the_grid_are_outside_it(sweep: LayeredSweep) -> None:
    sweep.run("grid.tuning.rounds=[1, 2]", "finish=matt")
    found = sweep.run("grid.tuning.rounds=[2, 3]", "grid.finish=[gloss]")
    assert found.changed == set()
    assert cells(sweep.read(), "method", "tuning.rounds", "finish") == {
        ("none", None, "gloss"),
        ("plain", None, "matt"),
        ("plain", None, "gloss"),
        *(("tuned", rounds, "matt") for rounds in (1, 2)),
        *(("tuned", rounds, "gloss") for rounds in (2, 3)),
    }
    assert len(load_results(sweep.folder / "layered")) == 1 + 4 + 8
    assert len(load_results(sweep.folder / "layered", all_rows=True)) == sweep.made


def test_rows_computed_from_other_settings_are_refused(sweep: LayeredSweep) -> None:
    sweep.run("grid.tuning.rounds=[1, 2]")
    with pytest.raises(
        StorageError, match=r"holds 13 rows of this grid computed from other inputs \(growing.epochs was 1"
    ):
        sweep.run("grid.tuning.rounds=[1, 2]", "growing.epochs=5")
    with pytest.raises(StorageError, match="growing.epochs was 1, is 5"):
        sweep.run("grid.tuning.rounds=[2, 3]", "growing.epochs=5")
    with pytest.raises(StorageError, match=r"other inputs \(growing.epochs was 1, is 5\)"):
        sweep.run("grid.finish=[null, matt]", "growing.epochs=5", "finish=gloss")


def test_a_default_that_changes_under_rows_is_told_by_them(sweep: LayeredSweep) -> None:
    sweep.run("finish=matt")
    found = sweep.plan("finish=gloss", "grid.finish=[gloss, matt]")
    assert [*found.kept.sentences()] == [
        "grid.finish is new to this sweep: 9 rows that are there were computed with matt, and kept"
    ]
    assert (len(found.finished), found.changed) == (PLAIN, set())


def test_an_axis_that_left_the_grid_goes_on_with_the_value_in_force(sweep: LayeredSweep, said: list[str]) -> None:
    sweep.run("grid.stress=[{name: push, label: soft}, {name: kick, label: hard}]", "grid.finish=[null, matt]")
    made = sweep.made
    loaded = sweep.load("grid.seed=[0, 1, 2]", "stress={name: kick}")
    assert loaded.engine.grid["stress"] == [{"label": "hard", "name": "kick", "force": 2.0}]
    assert loaded.engine.grid["finish"] == [None]
    place = sweep.store.describe("layered")
    assert said == [
        f"grid.finish is an axis of the rows in {place}: it goes on with null",
        f"grid.stress is an axis of the rows in {place}: it goes on with hard",
    ]
    sweep.run("grid.seed=[0, 1, 2]", "stress={name: kick}")
    assert sweep.made == made + 4
    assert cells(load_results(sweep.folder / "layered"), "stress", "finish") == {("hard", None)}
    assert {"stress", "finish"} <= {*sweep.read()}


def test_failures_of_before_stay_failures_of_their_rows(sweep: LayeredSweep) -> None:
    first = next(row for trial in sweep.plan().trials for row in trial.rows if row.cell["method"] == "plain")
    sweep.store.write_spec("layered", sweep.load().to_yaml())
    failure = {"cell": first.cell, "row_key": str(first.key), "stage": "measure", "cause": "it fell"}
    sweep.store.record_failure("layered", str(first.key), failure)
    found = sweep.run("grid.growing.epochs=[1, 2]")
    assert found.failed == {str(first.key)}
    (told,) = open_sweep(str(sweep.folder / "layered")).failures
    assert told["cell"] == {**first.cell, "growing.epochs": 1}


def test_rows_of_several_types_of_values_stay_one_table(sweep: LayeredSweep) -> None:
    sweep.run("grid.sides=[3]")
    sweep.run("grid.sides=[3, [3, 4]]")
    assert cells(sweep.read(), "method", "sides") == {
        ("none", None),
        *((method, sides) for method in ("plain", "tuned") for sides in ("3", "[3, 4]")),
    }


def test_what_is_read_without_the_study_is_the_same(sweep: LayeredSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep.run(
        "grid.stress=[{name: push, label: soft}, {name: kick}]",
        "grid.tuning.rounds=[1, 2]",
        "grid.exclude=[{stress: kick, seed: 1}]",
    )
    known = open_sweep(str(sweep.folder / "layered"))
    found = recorded.read(sweep.store, "layered")
    assert found is not None
    assert [axis[:2] for axis in found.study.axes] == [axis[:2] for axis in known.spec.study.axes]
    assert found.cells == known.spec.cells
    assert found.planned == known.spec.planned
    assert len(found.planned) == len(load_results(sweep.folder / "layered")) == sweep.made
