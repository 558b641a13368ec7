"""What the functions return has the numbers of the commands, and shows itself in text, on a terminal and in HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console

import sweeps
from sweeps.api.shown import Shown
from sweeps.errors import StorageError, SweepError
from sweeps.planning import plan
from sweeps.spec import plain_yaml
from sweeps.storage import Store
from sweeps.study import DataTable
from tests.support import toy_rows
from tests.support.layered_study import SPEC as LAYERED
from tests.support.layered_sweep import LayeredSweep
from tests.support.toy_study import ROWS, SPEC, ToyStudy
from tests.sweeps.conftest import text

LOADED = toy_rows.load()


@pytest.fixture
def half(store: Store) -> Store:
    """Return a storage with rows that are finished, and two that failed."""
    rows = toy_rows.all_rows(plan.make(LOADED, store))
    toy_rows.publish(store, LOADED, rows[:20])
    toy_rows.fail(store, LOADED, rows[20:22])
    return store


def test_the_public_names_are_there_and_lazy() -> None:
    assert {"run", "plan", "measure", "status", "analyze", "load_results"} <= set(dir(sweeps))
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        _ = sweeps.runs


def test_status_counts_rows(half: Store) -> None:
    found = sweeps.status(half.describe("toy"))
    assert (found.finished, found.failed, found.left, found.is_complete) == (20, 2, 3, False)
    assert found.frame["state"].value_counts().to_dict() == {"finished": 20, "to come": 3, "failed": 2}
    assert found.frame["cause"].dropna().unique().tolist() == ["ArithmeticError: not a number"]
    assert str(found).startswith("toy: 20 of 25 rows finished, 2 failed, 3 to come")


def test_a_plan_has_a_line_per_row_and_changes_nothing(tmp_path: Path, half: Store) -> None:
    spec = tmp_path / "toy.yaml"
    spec.write_text(SPEC)
    before = half.row_keys("toy")
    found = sweeps.plan(spec, storage=half.describe(""), set={"odd_data": True})
    assert found.frame["state"].value_counts().to_dict() == {"finished": 20, "missing": 3, "failed": 2}
    assert found.shared["stage"].value_counts().to_dict() == {"pretrain": 2, "score": 2, "base": 1}
    assert found.remarks == ("[odd] doses were rounded",)
    assert found.hours is None or found.hours > 0
    assert "rows: 20 finished, 3 missing, 2 failed before" in str(found)
    assert half.row_keys("toy") == before


def test_a_plan_has_tables_of_the_data(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    table = DataTable("data", ["", "toys"], [["to train on", 3], ["to measure on", 2]])
    monkeypatch.setattr(ToyStudy, "data", lambda study, cells: [table])
    found = sweeps.plan(plain_yaml.read(SPEC, "toy"), storage=store.describe("")).data
    assert found["data"].to_dict("list") == {"": ["to train on", "to measure on"], "toys": [3, 2]}


def test_tests_are_those_of_the_command(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    from sweeps.reporting.terminal import tables

    toy_rows.publish(store, LOADED)
    found = sweeps.analyze(store.describe("toy"), metric="outcome", floor="0%")
    tables.show_analysis(store.describe("toy"), Console(), metric="outcome", floor="0%", form="csv")
    assert found.frame.to_csv(index=False) == capsys.readouterr().out
    assert len(sweeps.analyze(store.describe("toy"), two_way=("method", "shape")).frame) % 3 == 0
    assert "no row is finished" not in str(found)


def test_an_object_shows_itself_everywhere(half: Store, console: Console) -> None:
    found: Shown = sweeps.status(half.describe("toy"))
    console.print(found)
    assert "20 of 25 rows finished" in text(console)
    assert repr(found) == str(found)
    html = found._repr_html_()
    assert html.startswith("<pre")
    assert "20 of 25 rows finished" in html


def test_markup_of_others_is_no_html(store: Store) -> None:
    rows = toy_rows.all_rows(plan.make(LOADED, store))
    toy_rows.fail(store, LOADED, rows[:1], "ValueError: <script>alert(1)</script>")
    assert "<script>" not in sweeps.status(store.describe("toy"))._repr_html_()


def test_what_is_no_sweep_is_an_error(tmp_path: Path) -> None:
    for asked in (sweeps.status, sweeps.load_results):
        with pytest.raises(StorageError, match="found no spec"):
            asked(tmp_path / "none")


def test_rows_of_a_whole_sweep(store: Store) -> None:
    toy_rows.publish(store, LOADED)
    found = sweeps.load_results(store.describe("toy"))
    assert isinstance(found, pd.DataFrame)
    assert len(found) == ROWS


def test_fields_are_axes_from_python_too(tmp_path: Path) -> None:
    sweep = LayeredSweep(tmp_path)
    sweep.run("grid.growing.epochs=[1, 2]")
    spec = yaml.safe_load(LAYERED) | {"growing": {"epochs": 2}}
    planned = sweeps.plan(spec, storage=tmp_path, set={"grid.growing.epochs": [1, 2, 3]})
    assert (len(planned.plan.finished), planned.plan.missing) == (18, 9)
    assert sweeps.status(tmp_path / "layered").frame["state"].tolist() == 18 * ["finished"]
    found = sweeps.analyze(tmp_path / "layered", slope=True, along="growing.epochs")
    assert set(found.frame["method"]) == {"plain", "tuned"}
    assert sweeps.plan(spec, storage=tmp_path).plan.missing == 0, "an axis of the rows goes on with the value in force"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_concurrent": 0}, "max_concurrent: found 0, expected a whole number, at least 1"),
        ({"max_concurrent": 1.5}, "max_concurrent: found 1.5, expected a whole number, at least 1"),
        ({"cpus": 0}, "cpus: found 0, expected a whole number, at least 1"),
        ({"gpus": -1}, "gpus: found -1, expected a whole number, at least 0"),
        ({"address": 5}, "address: found 5, expected text, or None"),
        ({"set": ["offset=1"]}, "set: found list, expected a mapping of values"),
    ],
)
def test_options_are_checked_before_anything_is_computed(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(SweepError) as refused:
        sweeps.run(yaml.safe_load(SPEC), storage=tmp_path / "runs", quiet=True, **options)
    assert str(refused.value).startswith(said)
    assert not (tmp_path / "runs").exists()
