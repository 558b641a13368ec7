"""What nobody needs any more is found and removed, and nothing else; least of all beside a run at work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.fs
import pytest

from sweeps import load_results
from sweeps.engine import tasks
from sweeps.engine.job import job_of
from sweeps.errors import StorageError
from sweeps.planning import plan
from sweeps.planning.plan import Row
from sweeps.storage import Store, cleaning, usage
from sweeps.storage.leases import FOLDER, Leases
from tests.support import toy_rows

LATER = time.time() + 3600
FINISHED, FAILED, MISSING = 0, 1, 2


@pytest.fixture(params=["disk", "S3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(request.getfixturevalue("s3")() if request.param == "S3" else str(tmp_path / "runs"))


@pytest.fixture
def disk(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "runs"))


def names(found: list[cleaning.Removal]) -> set[str]:
    return {item.name for removal in found for item in removal.items}


def begin(store: Store, name: str = "toy") -> list[Row]:
    """Leave a sweep of one finished row with a table and files, and a failed one; of both, and of a third, progress."""
    loaded = toy_rows.load("souvenirs=true", f"name={name}")
    job, found = job_of(loaded, store), plan.make(loaded, store)
    rows = toy_rows.all_rows(found)
    store.write_spec(name, loaded.to_yaml())
    store.note_checkpoints(name, {stage.key for trial in found.trials for stage in trial.shared})
    weights = np.arange(4.0)
    weights.flags.writeable = False
    outcome = tasks.compute_row(job, rows[FINISHED], {}, 1, True, [*rows[FINISHED].read], {"weights": weights})
    assert outcome.failure is None
    toy_rows.fail(store, loaded, [rows[FAILED]])
    for row in rows[: MISSING + 1]:
        store.save_progress(progress(row, name), {"epoch": np.array(1)}, seconds=1.0)
    return rows


def progress(row: Row, name: str = "toy") -> str:
    return f"{name}/progress/{row.key}/evaluate_row"


def listed(store: Store, folder: str) -> set[str]:
    return {f"{folder}/{file.name}" for file in store.files.list(folder, recursive=True, hidden=True)}


def clean(store: Store, *, unused: bool = False, now_s: float = LATER) -> set[str]:
    found = cleaning.removals(store, usage.survey(store), unused=unused, now_s=now_s)
    cleaning.remove(store, found)
    return names(found)


def test_progress_of_what_is_settled_goes_and_that_of_the_rest_stays(store: Store) -> None:
    rows = begin(store)
    keys = sorted(store.noted_checkpoints("toy") or ())[:2]
    toy_rows.publish_checkpoints(store, keys[:1])
    for key in keys:
        store.save_progress(f"checkpoints/{key}/progress", {"epoch": np.array(1)}, seconds=1.0)
    expected = set[str]()
    for place in (progress(rows[FINISHED]), progress(rows[FAILED]), f"checkpoints/{keys[0]}/progress"):
        expected |= listed(store, place)
    assert clean(store) == expected
    assert len(expected) == 6
    assert store.load_progress(progress(rows[MISSING])) != (None, 0.0)
    assert store.load_progress(f"checkpoints/{keys[1]}/progress") != (None, 0.0)
    assert store.load_checkpoint(keys[0]) is not None


def test_what_attempts_without_a_row_left_goes(store: Store) -> None:
    rows = begin(store)
    before = listed(store, "toy/souvenirs") | listed(store, "toy/doses_seen")
    assert len(before) == 3
    finished, missing = str(rows[FINISHED].key), str(rows[MISSING].key)
    for files_key in (f"{finished}-01234567", f"{missing}-01234567", missing):
        store.publish_file("toy", "souvenirs", files_key, ".txt", b"left over")
        store.publish_table("toy", "doses_seen", files_key, pd_table())
    removed = {name for name in clean(store) if "/progress/" not in name}
    assert len(removed) == 6
    assert listed(store, "toy/souvenirs") | listed(store, "toy/doses_seen") == before


def test_tables_and_files_of_rows_of_before_stay(disk: Store) -> None:
    rows = begin(disk)
    loaded = toy_rows.load("souvenirs=true")
    toy_rows.publish(disk, loaded, [rows[MISSING]])
    disk.publish_file("toy", "souvenirs", str(rows[MISSING].key), ".txt", b"of a row that says nothing")
    assert not [name for name in clean(disk) if "souvenirs" in name]


def test_what_dead_writers_left_goes(disk: Store, tmp_path: Path) -> None:
    begin(disk)
    disk.publish_checkpoint("base-1", {"weights": np.zeros(2)}, {})
    good = listed(disk, "checkpoints/base-1")
    left = {
        "toy/results/.a-1.parquet.0123.tmp",
        ".write-test-0123",
        "checkpoints/base-1/.meta.json.0123.tmp",
        f"checkpoints/base-1/{'0' * 64}.safetensors",
        f"checkpoints/pretrain-1/{'1' * 64}.safetensors",
        f"{FOLDER}/claims/base@0123",
    }
    for name in left:
        disk.files.publish(name, b"half a file")
    assert left <= clean(disk)
    assert listed(disk, "checkpoints") == good
    assert not (tmp_path / "runs" / ".write-test-0123").exists()


def test_what_is_young_stays(disk: Store) -> None:
    begin(disk)
    disk.files.publish("toy/results/.a-1.parquet.0123.tmp", b"")
    assert clean(disk, now_s=time.time()) == set()
    assert clean(disk, now_s=time.time() + 61)


def test_what_is_left_of_uploads_goes(s3: Callable[[], str]) -> None:
    location = s3()
    store = Store(location)
    begin(store)
    bucket, root = pyarrow.fs.FileSystem.from_uri(location)
    # Arrow's client begins an upload in parts, and never ends it.
    streams = [
        bucket.open_output_stream(f"{root}/{name}") for name in ("checkpoints/a b/1.safetensors", "toy/report/é")
    ]
    for stream in streams:
        stream.write(b"1" * 6 * 2**20)
    assert len(store.files.unfinished()) == 2
    assert {"checkpoints/a b/1.safetensors", "toy/report/é"} <= clean(store)
    assert store.files.unfinished() == []


@pytest.fixture
def run(disk: Store) -> Iterator[Leases]:
    with Leases(disk.files, "toy", beat_every_s=3600) as leases:
        leases._me = leases._me._replace(machine="another machine")
        leases._beat()
        yield leases


def test_beside_a_run_its_sweep_and_its_claims_stay(disk: Store, run: Leases) -> None:
    begin(disk)
    rows = begin(disk, "other")
    toy_rows.publish_checkpoints(disk, ["base-1", "base-2"])
    for key in ("base-1", "base-2"):
        disk.save_progress(f"checkpoints/{key}/progress", {"epoch": np.array(1)}, seconds=1.0)
    assert run.claim({"base-1"})
    young = time.time() + cleaning.YOUNG_BESIDE_RUNS_S - 30
    assert clean(disk, unused=True, now_s=young) == set()
    age(disk, but=FOLDER)
    removed = clean(disk, unused=True, now_s=time.time())
    assert removed == {
        *(f"{progress(row, 'other')}/{name}" for row in rows[:MISSING] for name in ("meta.json",)),
        *(name for name in removed if name.startswith("other/progress/") and name.endswith(".safetensors")),
        *(name for name in removed if name.startswith("checkpoints/base-2/")),
    }
    assert disk.load_checkpoint("base-1") is not None
    assert disk.load_checkpoint("base-2") is None
    assert run.check() == ""
    assert listed(disk, f"{FOLDER}/claims")


def age(store: Store, *, but: str) -> None:
    import os

    for path in Path(store.location).rglob("*"):
        if path.is_file() and but not in path.parts:
            os.utime(path, (0, 0))


def test_checkpoints_that_no_sweep_refers_to_go_where_that_is_asked_for(store: Store) -> None:
    begin(store)
    noted = sorted(store.noted_checkpoints("toy") or ())
    toy_rows.publish_checkpoints(store, [*noted, "base-of-another-sweep"])
    assert not [name for name in clean(store) if name.startswith("checkpoints/")]
    clean(store, unused=True)
    assert store.checkpoints() == {*noted}


def test_a_sweep_that_does_not_say_what_it_refers_to_keeps_all_checkpoints(disk: Store) -> None:
    begin(disk)
    begin(disk, "old")
    disk.files.delete("old/checkpoints.json")
    toy_rows.publish_checkpoints(disk, ["base-1"])
    clean(disk, unused=True)
    assert disk.checkpoints() == {"base-1"}
    assert cleaning.cannot_tell(disk, usage.survey(disk)) == ["old"]


def test_nothing_that_can_be_seen_changes(store: Store) -> None:
    begin(store)
    loaded = toy_rows.load("souvenirs=true")
    toy_rows.publish_checkpoints(store, sorted(store.noted_checkpoints("toy") or ()))
    before, rows = plan.make(loaded, store), load_results(store.describe("toy"))
    clean(store, unused=True)
    assert plan.make(loaded, store) == before
    pd.testing.assert_frame_equal(load_results(store.describe("toy")), rows)
    assert clean(store, unused=True) == set()


def test_bytes_are_told_by_kind_and_other_folders_are_none_of_ours(disk: Store, tmp_path: Path) -> None:
    begin(disk)
    toy_rows.publish_checkpoints(disk, ["base-1"])
    disk.files.publish("toy/report/report.html", b"12345")
    disk.files.publish("toy/results/.a-1.parquet.0123.tmp", b"123")
    disk.files.publish("holidays/results/a.parquet", b"no sweep of ours")
    found = usage.survey(disk)
    assert found.sweeps == ("toy",)
    assert not [item for item in found.items if "holidays" in item.name]
    kinds = found.bytes_by_kind("toy")
    assert kinds["reports"] == 5
    assert kinds["leftovers"] == 3
    assert kinds.keys() == {"rows", "tables", "files", "failures", "progress", "reports", "leftovers", "other"}
    ours = [path for name in ("toy", "checkpoints") for path in (tmp_path / "runs" / name).rglob("*")]
    everything = sum(path.stat().st_size for path in ours if path.is_file())
    assert sum(kinds.values()) + sum(found.bytes_by_kind("").values()) == everything


@pytest.mark.parametrize(("place", "hint"), [(".", ""), ("runs/toy", "this is a sweep, and the folder above it")])
def test_what_is_no_storage_is_refused(place: str, hint: str, disk: Store, tmp_path: Path) -> None:
    begin(disk)
    with pytest.raises(StorageError, match=f"found neither sweeps nor checkpoints, expected a storage.*{hint}"):
        usage.survey(Store(str(tmp_path / place)))


def pd_table() -> object:
    import pyarrow as pa

    return pa.table({"row_key": ["a"]})
