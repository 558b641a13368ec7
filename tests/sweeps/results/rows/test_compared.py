"""Where rows are compared, one to which a field does not matter stands for each of the field's values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeps.results.source import open_source
from sweeps.results.sweep import open_sweep
from sweeps.statistics.analysis import contrasts
from tests.support.command_line import Sweeps, assert_refused
from tests.support.layered_sweep import LayeredSweep


@pytest.fixture
def sweep(tmp_path: Path) -> LayeredSweep:
    return LayeredSweep(tmp_path / "runs")


def location(sweep: LayeredSweep) -> str:
    return str(sweep.folder / "layered")


def test_a_row_stands_for_each_value_of_a_field_that_does_not_matter(sweep: LayeredSweep) -> None:
    sweep.run("grid.tuning.rounds=[1, 2]")
    found = open_sweep(location(sweep))
    assert len(found.rows) == 4 + 8
    assert len(found.compared.rows) == 2 * 8
    plain = found.compared.rows.query("method == 'plain'")
    assert plain["tuning.rounds"].value_counts().to_dict() == {1: 4, 2: 4}
    assert plain.groupby("row_key").size().tolist() == 4 * [2]
    assert found.compared.baseline["tuning.rounds"].tolist() == ["none"]


def test_what_stands_for_several_is_compared_with_each_and_never_with_itself(sweep: LayeredSweep) -> None:
    sweep.run("grid.tuning.rounds=[1, 2]")
    source = open_source(location(sweep), metric=None, design=None)
    tests = contrasts(source.rows, metric=source.metric, design=source.design, roles=source.roles)
    of_methods = tests[tests["factor"] == "method"]
    assert set(of_methods["tuning.rounds"]) == {1, 2}
    of_rounds = tests[tests["factor"] == "tuning.rounds"]
    assert set(of_rounds["method"]) == {"tuned"}
    assert set(zip(of_rounds["level_a"], of_rounds["level_b"], strict=True)) == {(1, 2)}


def test_null_is_a_level_in_words(sweep: LayeredSweep) -> None:
    sweep.run("grid.tuning.damping=[null, 0.5]")
    rows = open_sweep(location(sweep)).compared.rows
    assert sorted(set(rows["tuning.damping"])) == ["0.5", "null"]


def test_plain_parquet_has_a_level_for_null(sweep: LayeredSweep) -> None:
    sweep.run("grid.tuning.rounds=[1, 2]")
    source = open_source(f"{location(sweep)}/results", metric=None, design=None)
    assert set(source.rows["tuning.rounds"]) == {"1", "2", "null"}
    tests = contrasts(source.rows, metric="height", design="paired", roles=source.roles)
    assert not tests.empty


def test_rows_outside_the_grid_are_as_they_are(sweep: LayeredSweep) -> None:
    sweep.run("grid.tuning.rounds=[1, 2]")
    sweep.run("grid.tuning.rounds=[1]", "grid.seed=[0]")
    assert len(open_sweep(location(sweep)).compared.rows) == 4
    assert len(open_sweep(location(sweep), all_rows=True).compared.rows) == 4 + 2 + 2 + 4


@pytest.mark.parametrize(
    "fields",
    [
        ("grid.tuning.rounds=[1, 2]", "grid.finish=[null, matt]"),
        ("grid.stress=[{name: push}, {name: kick}]", "grid.polish=[true, false]"),
    ],
)
def test_every_command_reads_such_a_sweep(sweep: LayeredSweep, sweeps: Sweeps, fields: tuple[str, ...]) -> None:
    sweep.run(*fields)
    made = sweep.made
    status = sweeps("status", location(sweep))
    assert (status.status, status.output) == (0, f"layered: {made} of {made} rows finished, 0 failed, 0 to come\n")
    for command in ("results", "analyze", "report", "failures"):
        ran = sweeps(command, location(sweep))
        assert (command, ran.status, ran.errors) == (command, 0, "")
        assert "nan" not in ran.output
    page = (sweep.folder / "layered" / "report" / "report.html").read_text()
    assert f"{made} of {made} rows finished" in page


def test_curves_run_along_any_axis_of_numbers(sweep: LayeredSweep, sweeps: Sweeps) -> None:
    sweep.run("grid.stress.force=[1, 2, 4]", "grid.finish=[null, matt]")
    ran = sweeps("analyze", location(sweep), "--along", "stress.force", "--format", "json")
    lines = json.loads(ran.output)
    assert {line["factor"] for line in lines} == {"method", "dose", "finish"}
    assert {line["stress.force"] for line in lines} == {1.0, 2.0, 4.0}
    ran = sweeps("report", location(sweep), "--along", "stress.force", "--output", "there")
    assert (ran.status, ran.errors) == (0, "")
    assert Path("there/height_against_stress.force.svg").exists()
    page = Path("there/report.html").read_text()
    assert "tuned · dose=0.5 · matt" in page


def test_a_slope_is_told_of_each_configuration_once(sweep: LayeredSweep, sweeps: Sweeps) -> None:
    sweep.run("grid.stress.force=[1, 2, 4]", "grid.tuning.rounds=[1, 2]", "grid.dose=[0]")
    ran = sweeps("analyze", location(sweep), "--slope", "--along", "stress.force", "--format", "json")
    told = [(line["method"], line["tuning.rounds"]) for line in json.loads(ran.output)]
    assert told == [("plain", ""), ("tuned", 1), ("tuned", 2)]
    ran = sweeps("analyze", location(sweep), "--slope", "--along", "stress.force")
    assert (ran.status, ran.errors) == (0, "")
    assert "height along stress.force" in ran.output


@pytest.mark.parametrize("axis", ["finish", "seed", "nothing"])
def test_curves_run_along_no_other(sweep: LayeredSweep, sweeps: Sweeps, axis: str) -> None:
    sweep.run("grid.stress.force=[1, 2, 4]", "grid.finish=[null, matt]")
    for command in ("analyze", "report"):
        ran = sweeps(command, location(sweep), "--along", axis)
        assert_refused(ran, f"--along: found '{axis}', expected an axis of numbers: dose, stress.force")
