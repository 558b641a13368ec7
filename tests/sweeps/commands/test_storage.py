"""`sweeps storage` says what there is and what could go, and removes it only where someone agreed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sweeps.storage import Store
from tests.support import toy_rows
from tests.support.command_line import Sweeps


@pytest.fixture
def left(store: Store) -> Path:
    """Leave a sweep, and what a writer left that died long ago."""
    toy_rows.publish(store, toy_rows.load())
    toy_rows.publish_checkpoints(store, ["base-1"])
    store.files.publish("toy/results/.a-1.parquet.0123.tmp", b"1" * 5000)
    file = Path(store.location, "toy", "results", ".a-1.parquet.0123.tmp")
    os.utime(file, (0, 0))
    return file


def test_it_says_what_takes_how_much_and_removes_nothing(sweeps: Sweeps, store: Store, left: Path) -> None:
    ran = sweeps("storage", store.location)
    assert ran.status == 0
    assert "(shared by all)" in ran.output
    assert "leftovers" in ran.output
    assert "5.0 kB in 1 file: what writers left that died half way" in ran.output
    assert left.exists()


def test_it_asks_before_it_removes(sweeps: Sweeps, store: Store, left: Path) -> None:
    ran = sweeps("storage", store.location, "--clean")
    assert ran.status == 0
    assert "nothing was removed; --yes removes it" in ran.output
    assert left.exists()
    ran = sweeps("storage", store.location, "--clean", "--yes")
    assert "removed 5.0 kB" in ran.output
    assert not left.exists()
    assert "nothing to remove" in sweeps("storage", store.location, "--clean", "--yes").output


def test_programs_read_it_too(sweeps: Sweeps, store: Store, left: Path) -> None:
    said = json.loads(sweeps("storage", store.location, "--format", "json").output)
    assert said["sweeps"]["toy"]["leftovers"] == 5000
    assert said["shared"]["checkpoints"] > 0
    assert said["removable"] == [{"why": "what writers left that died half way", "files": 1, "bytes": 5000}]
    assert not said["removed"]
    assert json.loads(sweeps("storage", store.location, "--format", "json", "--clean", "--yes").output)["removed"]
    assert not left.exists()


def test_sweeps_of_before_keep_their_checkpoints(sweeps: Sweeps, store: Store, left: Path) -> None:
    ran = sweeps("storage", store.location, "--clean", "--unused", "--yes")
    assert "--unused: found sweeps that do not say which checkpoints they refer to (toy)" in ran.output
    assert store.checkpoints() == {"base-1"}


@pytest.mark.parametrize("option", ["--unused", "--yes"])
def test_what_only_cleaning_knows_is_refused_without_it(option: str, sweeps: Sweeps, store: Store) -> None:
    ran = sweeps("storage", store.location, option)
    assert ran.status == 2
    assert f"found {option}, expected it beside --clean" in ran.errors


def test_a_place_that_is_no_storage(sweeps: Sweeps, tmp_path: Path) -> None:
    ran = sweeps("storage", str(tmp_path))
    assert ran.status == 2
    assert "found neither sweeps nor checkpoints" in ran.errors
