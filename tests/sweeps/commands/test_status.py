"""What `status` says agrees with what the storage holds."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweeps.errors import StorageError
from sweeps.planning import plan
from sweeps.planning.underway import UnderWay
from sweeps.reporting.terminal import failures, status
from sweeps.storage import Store
from sweeps.storage.leases import FOLDER, AtWork, Leases, Run
from tests.support import toy_rows
from tests.sweeps.conftest import text

LOADED = toy_rows.load()


def grid_rows(store: Store) -> list[plan.Row]:
    return toy_rows.all_rows(plan.make(LOADED, store))


def test_who_is_at_work_is_said(store: Store, console: Console) -> None:
    toy_rows.publish(store, LOADED, grid_rows(store)[:1])
    status.show(store.describe("toy"), console)
    assert "at work" not in text(console)
    with Leases(store.files, "toy"), Leases(store.files, "other"):
        status.show(store.describe("toy"), console)
    assert text(console).count("at work: ") == 1
    assert f"at work: process {os.getpid()} on " in text(console)


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


def at_these_minutes(store: Store, minutes: Iterable[float]) -> None:
    """Publish as many rows, each at its minute."""
    times = list(minutes)
    toy_rows.publish(store, LOADED, grid_rows(store)[: len(times)])
    for minute, file in zip(times, Path(store.describe("toy/results")).iterdir(), strict=True):
        os.utime(file, (60 * minute, 60 * minute))


def test_the_time_left_ignores_a_pause(store: Store, console: Console) -> None:
    # A laptop sleeps for a night, and is stopped for a weekend later.
    at_these_minutes(store, [*range(5), *range(600, 605), *range(5000, 5005)])
    status.show(store.describe("toy"), console)
    assert "1.0 a minute: 10 minutes left" in text(console)


def test_a_stage_that_takes_long_is_no_pause(store: Store, console: Console) -> None:
    at_these_minutes(store, [*range(5), *range(600, 605), *range(1196, 1201)])
    began = datetime.fromtimestamp(120 * 60, UTC).isoformat()
    for number, seconds in enumerate((60, 5 * 3600.0)):
        meta = {"stage": "pretrain", "seconds": seconds, "started_at": began}
        store.publish_checkpoint(f"pretrain-{number}", {}, meta)
    store.note_checkpoints("toy", ["pretrain-0", "pretrain-1"])
    status.show(store.describe("toy"), console)
    # 12 rows a minute apart, and one after five hours; the other pause, of ten hours, tells nothing.
    assert f": {10 * (12 + 300) // 13 // 60} h " in text(console)


def test_hours_and_days_are_shown(store: Store, console: Console) -> None:
    at_these_minutes(store, range(0, 15 * 300, 300))
    status.show(store.describe("toy"), console)
    assert "0.2 an hour: 2 d 2 h left" in text(console)


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
        # Numbers in a message make no cause of their own.
        toy_rows.fail(store, large, [row], f"Error{chr(945 + number % 25)}: at {number}")
    status.show(store.describe("toy"), console)
    lines = text(console).splitlines()
    assert len(lines) == 2 + failures.MOST_CAUSES
    assert re.fullmatch(r"  5 × evaluate_row: Error.: at \d+ \(and the like\)", lines[1])
    assert lines[-1] == f"  … and {25 - failures.MOST_CAUSES} more causes; `sweeps failures` lists them all"


def test_a_sweep_that_is_not_there(tmp_path: Path, console: Console) -> None:
    with pytest.raises(StorageError, match="found no spec.yaml there"):
        status.show(str(tmp_path / "nothing"), console)


def stage(row: str = "", **changes: Any) -> dict[str, Any]:
    training = UnderWay("train [bold]", "round quick 0", row, "epoch", 2.5, 5, {"loss": 0.25}, each_s=100.0)
    return training._replace(**changes)._asdict()


def test_how_far_stages_are_is_said(store: Store, console: Console) -> None:
    toy_rows.publish(store, LOADED, grid_rows(store)[:1])
    leases = Leases(store.files, "toy")
    leases.news = lambda: {"stages": [stage(), stage("dose 0.5", age_s=80.0), "odd"], "later": "another version's"}
    with leases:
        status.show(store.describe("toy"), console)
    told = [line for line in text(console).splitlines() if line.startswith("  ")]
    assert told == [
        "  round quick 0, train [bold]: epoch 3 of 5, loss 0.25, 2 minutes each, 4 minutes left",
        "  round quick 0, dose 0.5, train [bold]: epoch 3 of 5, loss 0.25, 2 minutes each, 3 minutes left, "
        "as of 80 seconds ago",
    ]


def test_many_stages_stay_readable(store: Store, console: Console) -> None:
    stages = [stage("dose 0.5", done=number / 10) for number in range(status.MOST_STAGES + 30)]
    status.show_at_work(AtWork(Run("toy", "node-7", 42, None, None), {"stages": stages}, 0.0), console)
    lines = text(console).splitlines()
    assert len(lines) == 1 + status.MOST_STAGES + 1
    assert lines[-1].startswith("  … and 30 × train [bold]: epoch 2 to 5 of 5, loss 0.25, at most ")


def test_a_run_that_was_not_heard_of_for_long_is_said_to_be_silent(store: Store, console: Console) -> None:
    """A driver on another machine that was killed leaves the last it said."""
    toy_rows.publish(store, LOADED, grid_rows(store)[:1])
    beat = {"sweep": "toy", "host": "node-7", "pid": 42, "machine": "another", "news": {"stages": [stage()]}}
    store.files.publish(f"{FOLDER}/runs/abc.json", json.dumps(beat).encode())
    status.show(store.describe("toy"), console)
    assert "at work: process 42 on node-7\n  round quick 0, train" in text(console)
    long_ago = time.time() - 600
    os.utime(store.describe(f"{FOLDER}/runs/abc.json"), (long_ago, long_ago))
    console.file.truncate(0)
    status.show(store.describe("toy"), console)
    assert "at work: process 42 on node-7, not heard of for 10 minutes: it may have been killed\n" in text(console)
    assert "epoch" not in text(console)
