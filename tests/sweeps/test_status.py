"""What `plan`, `status` and `failures` say agrees with what the storage holds."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from sweeps import plan, status
from sweeps.errors import StorageError
from sweeps.storage import Store, compaction
from sweeps.storage.leases import Leases
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
    assert "rows: 5 finished, 17 missing, 3 failed before (--retry-failed computes them too)" in shown
    assert "3 × evaluate_row: ValueError: [red]no[/red]" in shown
    assert "pretrain checkpoints: 1 present, 1 to compute" in shown
    assert "score checkpoints: 0 present, 2 to compute" in shown


def test_a_plan_tells_per_trial_where_its_rows_stand(store: Store, console: Console) -> None:
    rows = grid_rows(store)
    other = toy_rows.load("offset=0.5")
    toy_rows.publish(store, LOADED, rows[:2])
    toy_rows.fail(store, LOADED, rows[2:3])
    toy_rows.publish(store, other, toy_rows.all_rows(plan.make(other, store))[4:7])
    status.show_plan(LOADED, store, plan.make(LOADED, store), console)
    lines = [line.strip("│ ") for line in text(console).splitlines()]
    table = [[cell.strip() for cell in line.split("│")] for line in lines]
    assert ["none none 0", "1", "1", "0", "0", "0", "base"] in table
    assert ["round slow 0", "3", "1", "1", "1", "0", "base, pretrain"] in table
    assert ["round slow 1", "3", "0", "0", "0", "3", "base, pretrain"] in table
    changes = "offset was 0.5, is 0.0"
    assert (
        f"rows: 2 finished, 19 missing, 1 failed before (--retry-failed computes them too), 3 changed ({changes})"
        in lines
    )
    refusal = plan.make(LOADED, store).conflict(store.describe("toy"))
    assert f"`sweeps run` will refuse: {refusal}" in lines


def test_who_is_at_work_is_said(store: Store, console: Console) -> None:
    toy_rows.publish(store, LOADED, grid_rows(store)[:1])
    status.show(store.describe("toy"), console)
    assert "at work" not in text(console)
    with Leases(store.files, "toy"), Leases(store.files, "other"):
        status.show(store.describe("toy"), console)
    assert text(console).count("at work: ") == 1
    assert f"at work: process {os.getpid()} on " in text(console)


def test_a_large_plan_stays_readable(store: Store, console: Console) -> None:
    large = toy_rows.load(f"grid.seed={list(range(500))}")
    status.show_plan(large, store, plan.make(large, store), console)
    assert text(console).count("\n") < 80
    assert f"… and {2001 - status.MOST_TRIALS} more trials" in text(console)


def test_time_is_estimated_from_what_was_measured(store: Store, console: Console) -> None:
    rows = grid_rows(store)
    to_train = plan.make(LOADED, store).checkpoints_to_train()
    status.show_plan(LOADED, store, plan.make(LOADED, store), console)
    assert "time: nothing measured yet for base, pretrain, score, rows in this storage" in text(console)
    # Left: a score and a pretraining of 1.8 hours, and 18 rows of 2 seconds.
    measured = [
        key for name in ("base", "pretrain", "score") for key in [k for k, n in to_train.items() if n == name][:1]
    ]
    toy_rows.publish_checkpoints(store, measured, seconds=1.8 * 3600)
    toy_rows.publish(store, LOADED, rows[:7])
    status.show_plan(LOADED, store, plan.make(LOADED, store), console)
    expected = 2 * 1.8 + 18 * 2 / 3600
    assert f"time: about {expected:.2f} GPU-hours (hours of one worker), by what was measured here" in text(console)


def test_what_this_grid_measured_counts_before_what_others_did(store: Store, console: Console) -> None:
    to_train = plan.make(LOADED, store).checkpoints_to_train()
    base, *pretrained = (key for key, name in to_train.items() if name in ("base", "pretrain"))
    toy_rows.publish_checkpoints(store, [f"pretrain-{number}" for number in range(100)], seconds=1.0)
    toy_rows.publish_checkpoints(store, [base, pretrained[0]], seconds=3600.0)
    only_trained = [row for row in grid_rows(store) if row.scores is None and row.cell["seed"] == 1][-1:]
    toy_rows.publish(store, LOADED, [row for row in grid_rows(store) if row not in only_trained])
    status.show_plan(LOADED, store, plan.make(LOADED, store), console)
    mean = (3600 + (status.SAMPLE - 1) * 1) / status.SAMPLE
    assert f"time: about {(mean + 2) / 3600:.2f} GPU-hours" in text(console)


def test_a_plan_reads_few_rows_to_estimate_time(
    store: Store, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    large = toy_rows.load(f"grid.seed={list(range(30))}")
    toy_rows.publish(store, large)
    read: list[str] = []
    parse = compaction._parse
    monkeypatch.setattr(compaction, "_parse", lambda data, place: read.append(place) or parse(data, place))
    status.show_plan(large, store, plan.make(toy_rows.load("grid.seed=[50]"), store), console)
    assert len(read) == 10 * status.SAMPLE


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
    toy_rows.publish(store, LOADED, grid_rows(store)[:15])
    for minute, file in enumerate(Path(store.describe("toy/results")).iterdir()):
        os.utime(file, (60 * minute, 60 * minute))
    status.show(store.describe("toy"), console)
    assert "1.0 a minute: 10 minutes left" in text(console)


def test_status_reads_no_rows(store: Store, console: Console) -> None:
    toy_rows.publish(store, LOADED, grid_rows(store)[:5])
    for file in Path(store.describe("toy/results")).iterdir():
        file.write_bytes(b"not looked at")
    assert status.show(store.describe("toy"), console) == 1
    assert "5 of 25 rows finished" in text(console)


def test_many_causes_stay_readable(store: Store, console: Console) -> None:
    large = toy_rows.load(f"grid.seed={list(range(10))}")
    rows = toy_rows.all_rows(plan.make(large, store))
    for number, row in enumerate(rows):
        toy_rows.fail(store, large, [row], f"ValueError: {min(number, 99)}")
    status.show(store.describe("toy"), console)
    lines = text(console).splitlines()
    assert lines[1] == f"  {len(rows) - 99} × evaluate_row: ValueError: 99"
    assert lines[-1] == f"  … and {100 - status.MOST_CAUSES} more causes; `sweeps failures` lists them all"


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
