"""Rows outside a sweep's present grid are left out everywhere, and counted, or used where a user asks for them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from sweeps import load_results
from sweeps.planning import plan
from sweeps.results.sweep import open_sweep
from sweeps.spec import recorded
from sweeps.storage import Store
from tests.support import toy_rows, toy_study
from tests.support.command_line import Sweeps

MORE = 3 * 4
"""Rows of the seed that is no longer in the grid."""

LEFT_OUT = f"toy: {MORE} finished rows are outside the present grid, and left out; --all-rows uses them too"
USED = f"toy: {MORE} finished rows are outside the present grid, and used all the same (--all-rows)"


@pytest.fixture(params=["recorded", "of before"])
def sweep(store: Store, request: pytest.FixtureRequest) -> str:
    """Return where a toy sweep is that was run with three seeds, and then with two."""
    larger, smaller = toy_rows.load("grid.seed=[0, 1, 2]"), toy_rows.load()
    toy_rows.publish(store, larger)
    toy_rows.fail(store, larger, toy_rows.all_rows(plan.make(larger, store))[-1:], "ArithmeticError: of seed 2")
    store.write_spec("toy", smaller.to_yaml())
    if request.param == "recorded":
        recorded.write(smaller, store)
    return store.describe("toy")


def test_results_are_those_of_the_grid(sweep: str) -> None:
    rows = load_results(sweep)
    assert len(rows) == toy_study.ROWS
    assert set(rows["seed"]) == {0, 1}
    assert list(rows.index) == list(range(toy_study.ROWS))
    assert len(load_results(sweep, all_rows=True)) == toy_study.ROWS + MORE


def test_so_is_what_is_printed(sweep: str, sweeps: Sweeps) -> None:
    for options, count, said in (((), toy_study.ROWS, LEFT_OUT), (("--all-rows",), toy_study.ROWS + MORE, USED)):
        ran = sweeps("results", sweep, "--format", "csv", *options)
        assert (ran.status, ran.errors) == (0, f"{said}\n")
        assert len(pd.read_csv(io.StringIO(ran.output))) == count


@pytest.mark.parametrize(("command", "size"), [("analyze", "n_a"), ("power", "n_a")])
def test_and_what_is_tested(sweep: str, sweeps: Sweeps, command: str, size: str) -> None:
    for options, seeds, said in (((), 2, LEFT_OUT), (("--all-rows",), 3, USED)):
        ran = sweeps(command, sweep, "--format", "csv", *options)
        assert ran.status == 0
        assert said in ran.errors
        assert set(pd.read_csv(io.StringIO(ran.output))[size]) == {seeds}


def test_a_status_counts_the_others(sweep: str, sweeps: Sweeps) -> None:
    ran = sweeps("status", sweep)
    assert LEFT_OUT in ran.output
    assert f"{toy_study.ROWS} of {toy_study.ROWS} rows finished" in ran.output
    assert ran.status == 0


def test_failures_are_of_the_grid_too(sweep: str, store: Store, sweeps: Sweeps) -> None:
    toy_rows.fail(store, toy_rows.load(), toy_rows.all_rows(plan.make(toy_rows.load(), store))[:1], "KeyError: of it")
    for file in Path(sweep, "results").iterdir():
        file.unlink()
    said = "toy: 1 failed row is outside the present grid, and "
    ran = sweeps("failures", sweep)
    assert ran.output.splitlines()[:2] == ["toy: 1 row failed, of 1 cause", f"{said}left out; --all-rows lists it too"]
    assert "of seed 2" not in ran.output
    ran = sweeps("failures", sweep, "--all-rows", "--format", "csv")
    assert ran.errors == f"{said}listed all the same (--all-rows)\n"
    assert set(pd.read_csv(io.StringIO(ran.output))["cause"]) == {"KeyError: of it", "ArithmeticError: of seed 2"}


def test_a_report_is_of_the_grid(sweep: str, sweeps: Sweeps) -> None:
    for options, count, said in (((), toy_study.ROWS, LEFT_OUT), (("--all-rows",), toy_study.ROWS + MORE, USED)):
        ran = sweeps("report", sweep, *options)
        assert ran.status == 0
        assert ran.output.splitlines()[-1] == said
        page = Path(sweep, "report", "report.html").read_text()
        assert f"{count} of {count} rows finished" in page
        assert said in page
        assert ("of seed 2" in page) == bool(options)


def test_a_comparison_is_too(sweep: str, store: Store, sweeps: Sweeps) -> None:
    toy_rows.publish(store, toy_rows.load("name=other"))
    assert sweeps("report", sweep, store.describe("other")).status == 0
    page = Path(sweep, "report", "compared-with-other.html").read_text()
    assert f"toy: {toy_study.ROWS - 1} models" in page
    assert LEFT_OUT in page


def test_a_grid_that_is_there_leaves_nothing_to_say(store: Store, sweeps: Sweeps) -> None:
    loaded = toy_rows.load()
    toy_rows.publish(store, loaded)
    recorded.write(loaded, store)
    assert open_sweep(store.describe("toy")).outside == ""
    assert "outside" not in "".join(sweeps("report", store.describe("toy"))[1:])


def test_of_rows_without_a_spec_all_are_used(sweep: str, sweeps: Sweeps) -> None:
    ran = sweeps("analyze", f"{sweep}/results", "--format", "csv")
    assert (ran.status, ran.errors) == (0, "")
    assert pd.read_csv(io.StringIO(ran.output))["n_a"].max() == 3


@pytest.mark.parametrize("made", [str, Path])
def test_a_sweep_without_rows_has_its_columns(store: Store, made: Callable[[str], str | Path]) -> None:
    loaded = toy_rows.load()
    toy_rows.publish(store, loaded)
    full = load_results(made(store.describe("toy")))
    empty = toy_rows.load("name=empty")
    store.write_spec("empty", empty.to_yaml())
    recorded.write(empty, store)
    found = load_results(made(store.describe("empty")))
    assert len(found) == 0
    assert list(found.columns) == list(full.columns)
    keys = [axis.name for axis in toy_study.ToyStudy.axes]
    assert found[keys].dtypes.tolist() == full[keys].dtypes.tolist()


@pytest.mark.parametrize(
    "command", [["analyze"], ["power"], ["analyze", "--two-way", "shape", "method"], ["analyze", "--equivalence", "5%"]]
)
def test_and_nothing_to_compare(store: Store, sweeps: Sweeps, command: list[str]) -> None:
    empty = toy_rows.load()
    store.write_spec("toy", empty.to_yaml())
    recorded.write(empty, store)
    ran = sweeps(command[0], store.describe("toy"), *command[1:])
    assert (ran.status, ran.output, ran.errors) == (0, "", "nothing to compare: no row is finished\n")
    assert sweeps("report", store.describe("toy")).status == 0
