"""What `failures` says: causes, the rows that they are of, and one traceback each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweeps.errors import StorageError
from sweeps.planning import plan
from sweeps.planning.plan import Row
from sweeps.reporting.terminal.failures import show_failures
from sweeps.results.failures import grouped
from sweeps.storage import Store
from tests.support import toy_rows
from tests.support.command_line import Sweeps
from tests.sweeps.conftest import text

LOADED = toy_rows.load()


def grid_rows(store: Store) -> list[Row]:
    return toy_rows.all_rows(plan.make(LOADED, store))


def fail_each(store: Store, rows: Iterable[Row], cause: str, **more: Any) -> None:
    """Record that rows failed, each with its own cell in the message."""
    for row in rows:
        toy_rows.fail(store, LOADED, [row], cause.format(" ".join(map(str, row.cell.values()))))
        if more:
            (found,) = (each for each in store.failures("toy") if each["row_key"] == str(row.key))
            store.record_failure("toy", str(row.key), found | more)


def test_a_failure_comes_with_cell_place_and_traceback(store: Store, console: Console) -> None:
    toy_rows.fail(store, LOADED, grid_rows(store)[2:3], "ValueError: [red]no[/red] :skull:")
    show_failures(store.describe("toy"), console)
    assert text(console).splitlines() == [
        "toy: 1 row failed, of 1 cause",
        "",
        "1 row of 1 trial, evaluate_row: ValueError: [red]no[/red] :skull:",
        "  shape round; method slow; seed 0; dose 0.5",
        "  on toy, 2026-01-01 00:00:00",
        "Traceback:",
        "  ValueError: [red]no[/red] :skull:",
    ]


def test_one_traceback_of_each_cause_however_many_rows_it_is_of(store: Store, console: Console) -> None:
    rows = grid_rows(store)
    fail_each(store, rows[1:13], "ArithmeticError: the outcome of {} is not a number", attempts=2)
    fail_each(store, rows[13:15], "ArithmeticError: divided by 0")
    show_failures(store.describe("toy"), console)
    printed = text(console)
    assert printed.splitlines()[0] == "toy: 14 rows failed, of 2 causes"
    assert "\n12 rows of 4 trials, evaluate_row: ArithmeticError: the outcome of round " in printed
    assert " is not a number (and the like)\n" in printed
    assert "  shape round; method quick, slow; seed 0, 1; dose 0.0, 0.5, 1.0\n" in printed
    assert "  on toy, 2026-01-01 00:00:00, after 2 attempts\n" in printed
    assert "\n2 rows of 1 trial, evaluate_row: ArithmeticError: divided by 0\n" in printed
    assert printed.count("Traceback:") == 2


def test_450_failures_of_two_causes_fit_a_screen(store: Store, console: Console) -> None:
    large = toy_rows.load(f"grid.seed={list(range(37))}")
    rows = toy_rows.all_rows(plan.make(large, store))
    for number, row in enumerate(rows[:450]):
        toy_rows.fail(store, large, [row], f"{'Key' if number % 9 else 'Index'}Error: {number}")
    show_failures(store.describe("toy"), console)
    lines = text(console).splitlines()
    assert lines[0].startswith(f"toy: {min(450, len(rows))} rows failed, of 2 causes")
    assert len(lines) < 24
    assert any("seed 0 to 36 (37 values)" in line for line in lines)


def test_each_failure_is_listed_where_all_are_asked_for(store: Store, sweeps: Sweeps) -> None:
    fail_each(store, grid_rows(store)[1:4], "ArithmeticError: the outcome of {} is not a number")
    printed = sweeps("failures", store.describe("toy"), "--all").output
    assert printed.count("Traceback:") == 3
    assert "\nshape round, method slow, seed 0, dose 0.5 on toy\nTraceback:\n" in printed


def test_programs_read_every_failure_with_the_number_of_its_cause(store: Store, sweeps: Sweeps) -> None:
    rows = grid_rows(store)
    fail_each(store, rows[1:3], "KeyError: {}", attempts=5, pid=7, log="/tmp/worker.err")
    fail_each(store, rows[3:4], "ValueError: {}")
    found = json.loads(sweeps("failures", store.describe("toy"), "--format", "json").output)
    assert [(each["group"], each["attempts"], each["pid"]) for each in found] == [(1, 5, 7), (1, 5, 7), (2, None, None)]
    assert {(each["shape"], each["stage"], each["host"]) for each in found} == {("round", "evaluate_row", "toy")}
    printed = sweeps("failures", store.describe("toy"), "--format", "csv").output
    lines = list(csv.DictReader(io.StringIO(printed)))
    assert [line["row_key"] for line in lines] == [each["row_key"] for each in found]
    assert lines[0]["traceback"] == found[0]["traceback"]


def test_a_sweep_without_failures_has_none_in_any_format(store: Store, sweeps: Sweeps) -> None:
    store.write_spec("toy", LOADED.to_yaml())
    assert sweeps("failures", store.describe("toy")).output == "toy: no row failed\n"
    assert json.loads(sweeps("failures", store.describe("toy"), "--format", "json").output) == []


def test_what_was_mended_since_has_not_failed_and_what_failed_again_has(store: Store, console: Console) -> None:
    mended, again = grid_rows(store)[1:3]
    toy_rows.publish(store, LOADED, [mended, again])
    fail_each(store, [mended], "KeyError: mended")  # long ago
    fail_each(store, [again], "KeyError: when it was computed again", failed_at="2999-01-01T00:00:00+00:00")
    show_failures(store.describe("toy"), console)
    assert "toy: 1 row failed, of 1 cause\n" in text(console)
    assert "mended" not in text(console)


@pytest.mark.parametrize(
    ("causes", "groups"),
    [
        (["KeyError: 'round'", "KeyError: 'flat'"], 1),
        (["RuntimeError: at 0x7f16c805a267", "RuntimeError: at 0x1"], 1),
        (["OSError: 3 of 4.5e-7", "OSError: 12 of 1"], 1),
        (["KeyError: 1", "IndexError: 1"], 2),
        (["its process died: it left with exit code 3", "its process died: it left with exit code 4"], 2),
    ],
)
def test_numbers_and_values_of_axes_make_no_cause_of_their_own(causes: list[str], groups: int) -> None:
    cells = [{"shape": "round", "seed": 0}, {"shape": "flat", "seed": 1}]
    failures = [{"stage": "score", "cause": cause, "cell": cell} for cause, cell in zip(causes, cells, strict=True)]
    found = grouped(failures)
    assert len(found) == groups
    assert found[0].alike == (groups == 2)
    assert len(grouped([*failures, failures[0] | {"stage": "prune"}])) == groups + 1


def test_a_log_that_went_with_the_runs_own_ray_is_said_to_be_gone(
    store: Store, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.reporting.terminal.failures.socket.gethostname", lambda: "toy")
    log = tmp_path / "worker.err"
    fail_each(store, grid_rows(store)[1:2], "its process died: SIGBUS", log=str(log))
    log.touch()
    show_failures(store.describe("toy"), console)
    assert "no longer there" not in text(console)
    log.unlink()
    show_failures(store.describe("toy"), console)
    assert "(Its log is no longer there: that of a run's own Ray goes with the run.)" in text(console)


def test_a_sweep_that_is_not_there(tmp_path: Path, console: Console) -> None:
    with pytest.raises(StorageError, match="found no spec.yaml there"):
        show_failures(str(tmp_path / "nothing"), console)


def test_failures_are_told_apart_by_fields_that_are_axes(store: Store, console: Console) -> None:
    """A row of another value is of the same own axes, and mends nothing."""
    loaded = toy_rows.load("grid.offset=[0.0, 1.5]", "grid.shape=[flat]", "grid.method=[slow]", "grid.seed=[0]")
    at_half = [row for row in toy_rows.all_rows(plan.make(loaded, store)) if row.cell["dose"] == 0.5]
    toy_rows.fail(store, loaded, at_half)
    toy_rows.publish(store, loaded, at_half[1:])
    show_failures(store.describe("toy"), console)
    said = text(console).splitlines()
    assert said[0] == "toy: 1 row failed, of 1 cause"
    assert "  shape flat; method slow; seed 0; dose 0.5; offset 0.0" in said
    assert "outside" not in text(console)
