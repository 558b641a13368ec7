"""What `plan`, `status` and `failures` say agrees with what the storage holds."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from sweeps import plan, rows, status
from sweeps.errors import StorageError
from sweeps.storage import Store
from tests import toy_rows, toy_study

LOADED = toy_rows.load()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "runs [bold]"))


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=120, emoji=False)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def grid_rows(store: Store) -> list[plan.Row]:
    return toy_rows.all_rows(plan.make(LOADED, store))


def test_a_plan_counts_rows_checkpoints_and_causes(store: Store, console: Console) -> None:
    rows = grid_rows(store)
    to_train = plan.make(LOADED, store).checkpoints_to_train()
    toy_rows.publish(store, LOADED, rows[:5])
    toy_rows.fail(store, LOADED, rows[5:8], "ValueError: [red]no[/red]")
    toy_rows.publish_checkpoints(store, [key for key, name in to_train.items() if name == "pretrain"][:1])
    status.show_plan(LOADED, store, plan.make(LOADED, store), console)
    shown = text(console)
    assert f"toy: 9 trials, {toy_study.ROWS} rows, in {store.describe('toy')}\n" in shown
    assert "rows: 5 finished, 17 to compute; 3 failed before" in shown
    assert "3 × evaluate_row: ValueError: [red]no[/red]" in shown
    assert "pretrain checkpoints: 1 present, 1 to compute" in shown
    assert "score checkpoints: 0 present, 2 to compute" in shown


def test_time_is_estimated_from_what_was_measured(store: Store, console: Console) -> None:
    rows = grid_rows(store)
    to_train = plan.make(LOADED, store).checkpoints_to_train()
    status.show_plan(LOADED, store, plan.make(LOADED, store), console)
    assert "time: nothing measured yet for base, pretrain, score, rows" in text(console)
    # Left: a score and a pretraining of 1.8 hours, and 18 rows of 2 seconds.
    measured = [
        key for name in ("base", "pretrain", "score") for key in [k for k, n in to_train.items() if n == name][:1]
    ]
    toy_rows.publish_checkpoints(store, measured, seconds=1.8 * 3600)
    toy_rows.publish(store, LOADED, rows[:7])
    status.show_plan(LOADED, store, plan.make(LOADED, store), console)
    assert f"time: about {2 * 1.8 + 18 * 2 / 3600:.2f} hours of one worker" in text(console)


def test_status_of_a_sweep_on_its_way(store: Store, console: Console) -> None:
    rows = grid_rows(store)
    toy_rows.publish(store, LOADED, rows[:5])
    toy_rows.fail(store, LOADED, rows[5:7], "ValueError: one [bold]")
    toy_rows.fail(store, LOADED, rows[7:8], "KeyError: other")
    assert status.show(store.describe("toy"), console) == 1
    assert text(console).splitlines()[:3] == [
        "toy: 5 of 25 rows finished, 3 failed, 17 to come",
        "  2 × evaluate_row: ValueError: one [bold]",
        "  1 × evaluate_row: KeyError: other",
    ]


def test_status_of_a_sweep_that_has_just_begun(store: Store, console: Console) -> None:
    store.write_spec("toy", LOADED.to_yaml())
    assert status.show(store.describe("toy"), console) == 1
    assert text(console) == "toy: 0 of 25 rows finished, 0 failed, 25 to come\n"


def test_status_of_a_complete_sweep(store: Store, console: Console) -> None:
    toy_rows.publish(store, LOADED)
    assert status.show(store.describe("toy"), console) == 0
    assert text(console) == "toy: 25 of 25 rows finished, 0 failed, 0 to come\n"


def test_a_failure_that_was_mended_counts_no_more(store: Store, console: Console) -> None:
    toy_rows.fail(store, LOADED, grid_rows(store)[:1])
    toy_rows.publish(store, LOADED)
    assert status.show(store.describe("toy"), console) == 0
    assert "0 failed" in text(console)


def test_the_time_left_follows_the_pace(store: Store, console: Console) -> None:
    store.write_spec("toy", LOADED.to_yaml())
    for minute, row in enumerate(grid_rows(store)[:15]):
        values = toy_rows.values(row, LOADED, finished_at=f"2026-01-01T00:{minute:02}:00+00:00")
        store.publish_row("toy", str(row.key), rows.table(values, LOADED.study))
    status.show(store.describe("toy"), console)
    assert "1.0 a minute: 10 minutes left" in text(console)


def test_failures_come_with_cell_and_traceback(store: Store, console: Console) -> None:
    toy_rows.fail(store, LOADED, grid_rows(store)[2:3], "ValueError: [red]no[/red] :skull:")
    status.show_failures(store.describe("toy"), console)
    assert text(console) == (
        "shape round, method slow, seed 0, dose 0.5 in evaluate_row on toy\n"
        "Traceback:\n  ValueError: [red]no[/red] :skull:\n\n"
    )


def test_no_failures_are_said_to_be_none(store: Store, console: Console) -> None:
    store.write_spec("toy", LOADED.to_yaml())
    status.show_failures(store.describe("toy"), console)
    assert text(console) == "toy: no failures\n"


def test_a_sweep_that_is_not_there(tmp_path: Path, console: Console) -> None:
    for show in (status.show, status.show_failures):
        with pytest.raises(StorageError, match="found no spec.yaml there"):
            show(str(tmp_path / "nothing"), console)
