"""What every storage promises: the first writer wins, and nothing is visible or believed that is not whole."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sweeps.errors import StorageError
from sweeps.storage import Store
from sweeps.storage.rows import split_location

LOCAL = {
    "plain": "runs",
    "deep": "not/there/yet",
    "spaces": "a 0",
    "quotes": "a'; echo foo",
    "unicode": "ünï",
    "percent": "%20",
    "question": "a?b=c&d#e",
    "glob": "[a]*",
}

CHECKPOINT: dict[str, np.ndarray] = {
    "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
    "steps": np.array(7, dtype=np.int64),
    "nothing": np.zeros((0, 2), dtype=np.float16),
}


def row(value: float) -> pa.Table:
    return pa.table({"seed": [1], "outcome": [value], "note": pa.array([None], pa.string())})


@pytest.fixture(params=[*LOCAL, "file URI", "memory", "S3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file URI":
        return f"file://{quote(str(tmp_path / 'a 0'))}"
    if request.param == "memory":
        return "mock:///bucket/runs"
    if request.param == "S3":
        uri: str = request.getfixturevalue("s3")()
        return uri
    return str(tmp_path / LOCAL[request.param])


@pytest.fixture
def store(location: str) -> Store:
    return Store(location)


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


class TestContract:
    """Holds on every backend."""

    def test_an_empty_storage_is_no_error(self, store: Store) -> None:
        assert store.row_keys("toy") == set()
        assert store.read_rows("toy") is None
        assert store.checkpoints() == set()
        assert store.load_checkpoint("base-1") is None
        assert store.checkpoint_meta("base-1") is None
        assert "base-1" not in store.checkpoints()
        assert store.read_spec("toy") is None
        assert list(store.failures("toy")) == []

    def test_a_write_test_leaves_nothing(self, store: Store) -> None:
        store.files.check_writable()
        assert store.files.list("", recursive=True) == []

    def test_listings_name_whole_files_with_size_and_time(self, store: Store) -> None:
        store.files.publish("a/b/c", b"12345")
        store.files.publish("a/d", b"")
        store.files.publish("ab/e", b"")
        assert [file[:2] for file in store.files.list("a")] == [("d", 0)]
        listed = store.files.list("a", recursive=True)
        assert sorted(file[:2] for file in listed) == [("b/c", 5), ("d", 0)]
        assert all(file.modified_ns for file in listed)
        assert store.files.list("nothing") == store.files.list("a/d/nothing") == []

    def test_files_are_there_until_deleted(self, store: Store) -> None:
        for name in ("a/b", "a/c"):
            store.files.publish(name, name.encode())
        store.files.delete("a/b")
        store.files.delete("a/b")
        store.files.delete("nothing/at/all")
        assert not store.files.exists("a/b")
        assert store.files.exists("a/c")
        assert not store.files.exists("a")
        assert store.files.read_many(["a/c", "a/b", "nothing/d"]) == (b"a/c", None, None)
        with pytest.raises(FileNotFoundError):
            store.files.read("a/b")

    def test_a_deleted_folder_is_gone_with_all_that_is_in_it(self, store: Store) -> None:
        for name in ("a/b/c", "a/b/d/e", "a/bc"):
            store.files.publish(name, b"")
        store.files.delete_folder("a/b")
        store.files.delete_folder("a/b")
        store.files.delete_folder("nothing/at/all")
        assert [file.name for file in store.files.list("", recursive=True)] == ["a/bc"]
        assert store.files.publish("a/b/c", b"again")
        assert store.files.read("a/b/c") == b"again"

    def test_progress_is_kept_replaced_and_forgotten(self, store: Store) -> None:
        assert store.load_progress("progress/a") == (None, 0.0)
        for epoch in (1, 2):
            store.save_progress("progress/a", {"epoch": np.array(epoch)}, seconds=3.0 * epoch)
        state, seconds = store.load_progress("progress/a")
        assert state is not None
        assert (int(state["epoch"]), seconds) == (2, 6.0)
        assert len(store.files.list("progress/a")) == 2
        store.forget_progress("progress/a")
        assert store.load_progress("progress/a") == (None, 0.0)

    def test_rows_come_back_with_their_types(self, store: Store) -> None:
        assert store.publish_row("toy", "a-1", row(0.1))
        assert store.publish_row("toy", "b-1", row(0.2))
        assert store.row_keys("toy") == {"a-1", "b-1"}
        found = store.read_rows("toy")
        assert found is not None
        assert found.equals(pa.concat_tables([row(0.1), row(0.2)]))

    def test_the_first_writer_of_a_row_wins(self, store: Store) -> None:
        assert store.publish_row("toy", "a-1", row(0.1))
        assert not store.publish_row("toy", "a-1", row(0.2))
        found = store.read_rows("toy")
        assert found is not None
        assert found["outcome"].to_pylist() == [0.1]

    def test_the_first_writer_of_a_table_wins(self, store: Store) -> None:
        keys = pa.array(["a-1", "a-1"]).dictionary_encode()
        tables = [pa.table({"row_key": keys, "x": np.array([value, 0.1], np.float32)}) for value in (0.2, 0.3)]
        assert store.read_table("toy", "boxes", "a-1") is None
        for table in tables:
            store.publish_table("toy", "boxes", "a-1", table)
        found = store.read_table("toy", "boxes", "a-1")
        assert found is not None
        assert found.equals(tables[0])
        assert store.row_keys("toy") == set()
        assert store.read_table("toy", "boxes", "b-1") is None

    def test_the_first_writer_of_a_file_wins(self, store: Store) -> None:
        assert store.rows_with_files("toy", "souvenirs", ".bin") == set()
        for key, ending, data, won in (
            ("a-1", ".txt", b"0", True),
            ("a-1", ".bin", b"1", True),
            ("a-1", ".bin", b"2", False),
        ):
            assert store.publish_file("toy", "souvenirs", key, ending, data) is won
        assert store.publish_file("toy", "souvenirs", "b-1-0123", ".txt", b"")
        assert store.files.read("toy/souvenirs/a-1.bin") == b"1"
        assert store.rows_with_files("toy", "souvenirs", ".bin") == {"a-1"}
        assert store.rows_with_files("toy", "souvenirs", ".txt") == {"a-1", "b-1"}

    def test_sweeps_are_apart_and_share_checkpoints(self, store: Store) -> None:
        store.publish_row("one", "a-1", row(0.1))
        store.publish_checkpoint("base-1", CHECKPOINT, {})
        assert store.row_keys("two") == set()
        assert store.row_keys("checkpoints") == set()
        assert store.checkpoints() == {"base-1"}

    def test_a_checkpoint_comes_back_bit_for_bit(self, store: Store) -> None:
        store.publish_checkpoint("pretrain-1", CHECKPOINT, {"stage": "pretrain", "seconds": 1.5})
        assert "pretrain-1" in store.checkpoints()
        loaded = store.load_checkpoint("pretrain-1")
        assert loaded is not None
        assert loaded.keys() == CHECKPOINT.keys()
        for name, array in CHECKPOINT.items():
            assert loaded[name].dtype == array.dtype
            np.testing.assert_array_equal(loaded[name], array)
        meta = store.checkpoint_meta("pretrain-1")
        assert meta is not None
        assert (meta["stage"], meta["seconds"]) == ("pretrain", 1.5)

    def test_the_first_writer_of_a_checkpoint_wins_and_the_others_are_handed_what_it_published(
        self, store: Store
    ) -> None:
        assert store.publish_checkpoint("base-1", CHECKPOINT, {"host": "one"}) is None
        published = store.files.list("checkpoints/base-1")
        winner = store.publish_checkpoint("base-1", {"weights": np.ones(3)}, {"host": "two"})
        assert winner is not None
        np.testing.assert_array_equal(winner.tensors["weights"], CHECKPOINT["weights"])
        assert winner.meta["host"] == "one"
        assert store.files.list("checkpoints/base-1") == published

    def test_a_checkpoint_is_replaced_where_that_is_asked_for(self, store: Store) -> None:
        store.publish_checkpoint("base-1", CHECKPOINT, {})
        again = {"weights": np.ones(3)}
        assert store.publish_checkpoint("base-1", again, {}, replace=True) is None
        loaded = store.load_checkpoint("base-1")
        assert loaded is not None
        np.testing.assert_array_equal(loaded["weights"], again["weights"])
        assert len(store.files.list("checkpoints/base-1")) == 2, "what was replaced is removed"

    def test_a_checkpoint_of_version_0_1_is_read(self, store: Store) -> None:
        store.publish_checkpoint("base-1", CHECKPOINT, {})
        described = store.checkpoint_meta("base-1") or {}
        del described["file"]
        store.files.publish("checkpoints/base-1/meta.json", json.dumps(described).encode(), replace=True)
        assert store.load_checkpoint("base-1") is not None

    def test_tensors_without_their_description_do_not_count(self, store: Store) -> None:
        store.publish_checkpoint("base-1", CHECKPOINT, {})
        store.files.delete("checkpoints/base-1/meta.json")
        assert "base-1" not in store.checkpoints()
        assert store.checkpoints() == set()
        assert store.load_checkpoint("base-1") is None

    def test_failures_are_recorded_replaced_and_forgotten(self, store: Store) -> None:
        for key, cause in (("b-1", "first"), ("a-1", "other"), ("b-1", "second")):
            store.record_failure("toy", key, {"row_key": key, "cause": cause})
        assert store.failure_keys("toy") == {"a-1", "b-1"}
        assert [failure["cause"] for failure in store.failures("toy")] == ["other", "second"]
        store.forget_failures("toy", ["a-1", "nothing"])
        assert store.failure_keys("toy") == {"b-1"}
        assert store.row_keys("toy") == set()

    def test_a_few_rows_are_looked_up_without_a_listing(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        store.publish_row("toy", "a-1", row(0.1))
        for key in ("a-1", "b-1"):
            store.record_failure("toy", key, {})
        monkeypatch.setattr(store.files, "list", None)
        assert store.has_rows("toy", ["a-1", "c-1"]) == {"a-1"}
        assert store.settled("toy", ["a-1", "b-1", "c-1"]) == ({"a-1"}, {"b-1"})
        monkeypatch.setattr("sweeps.storage.store.FEW", 1)
        assert store.settled("toy", ["a-1", "b-1", "c-1"]) == ({"a-1"}, {"b-1"})
        assert store.settled("toy", []) == (set(), set())

    def test_what_a_sweep_refers_to_is_added_to(self, store: Store) -> None:
        assert store.noted_checkpoints("toy") is None
        store.note_checkpoints("toy", ["base-1", "pretrain-1"])
        store.note_checkpoints("toy", ["base-1", "pretrain-2"])
        assert store.noted_checkpoints("toy") == {"base-1", "pretrain-1", "pretrain-2"}

    def test_a_torn_note_is_not_replaced_by_what_a_smaller_grid_refers_to(self, store: Store) -> None:
        store.files.publish("toy/checkpoints.json", b'{"keys": ["base-1", ')
        store.note_checkpoints("toy", ["base-1"])
        assert store.noted_checkpoints("toy") is None, "else the others would count as unused"

    def test_the_spec_is_kept_and_replaced(self, store: Store) -> None:
        store.write_spec("toy", "name: toy\n")
        store.write_spec("toy", "description: größer\n")
        assert store.read_spec("toy") == "description: größer\n"

    def test_where_a_sweep_lies_can_be_said_and_taken_apart_again(self, store: Store, location: str) -> None:
        assert split_location(store.describe("toy")) == (location, "toy")


class TestLocal:
    """Holds on a disk, where a file could be seen while it is written."""

    def test_of_many_writers_of_a_row_exactly_one_wins(self, local: Store) -> None:
        with ThreadPoolExecutor(4) as pool:
            for attempt in range(5):
                key, start = f"a-{attempt}", threading.Barrier(4)

                def publish(value: int, key: str = key, start: threading.Barrier = start) -> bool:
                    start.wait()
                    return local.publish_row("toy", key, row(value))

                won = list(pool.map(publish, range(4)))
                assert sum(won) == 1
                found = local.read_rows("toy")
                assert found is not None
                assert found["outcome"].to_pylist()[attempt] == won.index(True)

    @pytest.mark.parametrize("replace", [False, True])
    def test_writers_of_one_checkpoint_never_mix_tensors_and_checksum(self, local: Store, replace: bool) -> None:
        def publish(value: int) -> bool:
            checkpoint = {"weights": np.full(1000, value)}
            for _ in range(5):
                local.publish_checkpoint("base-1", checkpoint, {}, replace=replace)
            return local.load_checkpoint("base-1") is not None

        with ThreadPoolExecutor(3) as pool:
            assert all(pool.map(publish, range(3)))

    def test_a_leftover_of_a_killed_writer_is_no_row(self, local: Store, tmp_path: Path) -> None:
        local.publish_row("toy", "a-1", row(0.1))
        results = tmp_path / "toy" / "results"
        for leftover in (".b-1.parquet.0123.tmp", "._a-1.parquet"):
            (results / leftover).write_bytes(b"PAR1 half")
        assert local.row_keys("toy") == {"a-1"}
        found = local.read_rows("toy")
        assert found is not None
        assert len(found) == 1
        assert len(pd.read_parquet(results)) == 1

    def test_a_write_that_fails_half_way_leaves_nothing(
        self, local: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(StorageError, match="No space left on device"):
            local.publish_row("toy", "a-1", row(0.1))
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_nothing_but_whole_files_stays(self, local: Store, tmp_path: Path) -> None:
        local.publish_row("toy", "a-1", row(0.1))
        local.publish_row("toy", "a-1", row(0.2))
        local.publish_checkpoint("base-1", CHECKPOINT, {"seconds": 1})
        local.record_failure("toy", "b-1", {})
        local.write_spec("toy", "name: toy")
        assert [path.name for path in tmp_path.rglob(".*")] == []

    def test_a_description_is_json_that_people_can_read(self, local: Store, tmp_path: Path) -> None:
        local.publish_checkpoint("base-1", CHECKPOINT, {"stage": "base", "cell": {"seed": 1}})
        described = json.loads((tmp_path / "checkpoints" / "base-1" / "meta.json").read_text())
        assert described["stage"] == "base"
        assert described["cell"] == {"seed": 1}

    def test_storage_below_a_regular_file_is_not_writable(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("not a folder")
        with pytest.raises(StorageError) as caught:
            Store(str(tmp_path / "file" / "runs")).files.check_writable()
        assert str(caught.value) == (
            f"storage '{tmp_path}/file/runs': cannot be written (Not a directory), expected a writable folder"
        )


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ("runs/demo", ("runs", "demo")),
        ("runs/demo/", ("runs", "demo")),
        ("demo", (".", "demo")),
        ("/runs/a?b/demo", ("/runs/a?b", "demo")),
        ("s3://bucket/runs/demo", ("s3://bucket/runs", "demo")),
        ("s3://bucket/demo?endpoint_override=http://host:1", ("s3://bucket?endpoint_override=http://host:1", "demo")),
    ],
)
def test_a_sweep_is_named_by_storage_and_name(sweep: str, expected: tuple[str, str]) -> None:
    assert split_location(sweep) == expected
