"""What was read before changes how fast rows are read, and nothing else."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.errors import StorageError
from sweeps.storage import Store, compaction
from sweeps.storage.files import Files

KEPT = Path("toy", "cache", "rows")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What was read, by the name of its folder."""
    counted: Counter[str] = Counter()
    read = Files.read

    def counting(files: Files, name: str) -> bytes:
        counted[name.split("/")[1]] += 1
        return read(files, name)

    monkeypatch.setattr(Files, "read", counting)
    return counted


def publish(store: Store, count: int, *, first: int = 0) -> None:
    for number in range(first, first + count):
        store.publish_row("toy", f"{number:04}-1", pa.table({"seed": [number], "outcome": [number / 7]}))


def seeds(store: Store) -> list[int]:
    rows = store.read_rows("toy")
    assert rows is not None
    found: list[int] = rows["seed"].to_pylist()
    return found


# Rows as versions of the software wrote them: columns added, in another order, of unknown type, with other metadata.
SCHEMAS = [
    pa.schema([("seed", pa.int64()), ("note", pa.string())]),
    pa.schema([("seed", pa.int64()), ("outcome", pa.float64()), ("note", pa.string())]),
    pa.schema([("note", pa.null()), ("seed", pa.int64())]),
    pa.schema([("outcome", pa.float64()), ("seed", pa.int64())], metadata={"axes": "seed"}),
]
VALUES = {
    "seed": st.none() | st.integers(-(2**63), 2**63 - 1),
    "outcome": st.none() | st.floats(),
    "note": st.none() | st.text(st.characters(codec="utf-8")),
}
steps = st.lists(
    st.tuples(
        st.sampled_from(["publish", "publish", "publish", "remove", "read", "lose"]),
        st.sampled_from([f"{letter}-1" for letter in "abcdef0"]),
        st.sampled_from(SCHEMAS),
        st.fixed_dictionaries(VALUES),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(steps)
def test_rows_are_the_same_with_and_without(history: list[tuple[str, str, pa.Schema, dict[str, object]]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "WORTH_KEEPING", 1)
        store, clock = Store(folder), itertools.count(1)
        for action, key, schema, values in history:
            file = Path(folder, "toy", "results", f"{key}.parquet")
            if action == "publish" and not file.exists():
                row = {
                    name: None if kind == pa.null() else values[name]
                    for name, kind in zip(schema.names, schema.types, strict=True)
                }
                store.publish_row("toy", key, pa.Table.from_pylist([row], schema=schema))
                # A file system's clock may stand still between two writes of a test.
                os.utime(file, (time := next(clock), time))
            elif action == "remove":
                file.unlink(missing_ok=True)
            elif action == "lose":
                Path(folder, KEPT).unlink(missing_ok=True)
            elif action == "read":
                store.read_rows("toy")
        found, expected = store.read_rows("toy"), compaction.read_rows(store.files, "toy/results", "nowhere/rows")
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert found.schema.equals(expected.schema, check_metadata=True)
            pd.testing.assert_frame_equal(found.to_pandas(), expected.to_pandas(), check_exact=True)


def test_rows_are_read_once(store: Store, reads: Counter[str]) -> None:
    publish(store, 150)
    assert seeds(store) == list(range(150))
    assert reads == {"results": 150, "cache": 1}
    publish(store, 3, first=150)
    reads.clear()
    assert seeds(store) == list(range(153))
    assert reads == {"results": 3, "cache": 1}


def test_few_new_rows_are_not_worth_writing_all_again(store: Store, tmp_path: Path) -> None:
    publish(store, 99)
    seeds(store)
    assert not (tmp_path / KEPT).exists()
    publish(store, 101, first=99)
    seeds(store)
    before = (tmp_path / KEPT).stat()
    publish(store, 50, first=200)
    seeds(store)
    assert (tmp_path / KEPT).stat() == before


def test_a_sample_reads_no_more_than_asked_for(store: Store, tmp_path: Path, reads: Counter[str]) -> None:
    publish(store, 200)
    sample = store.read_rows("toy", most_unread=20)
    assert sample is not None
    assert len(sample) == 20
    assert reads["results"] == 20
    assert not (tmp_path / KEPT).exists()
    seeds(store)
    publish(store, 40, first=200)
    reads.clear()
    sample = store.read_rows("toy", most_unread=20)
    assert sample is not None
    assert len(sample) == 220
    assert reads["results"] == 20


def test_plain_pandas_is_not_disturbed(store: Store, tmp_path: Path) -> None:
    publish(store, 120)
    rows = store.read_rows("toy")
    assert rows is not None
    assert (tmp_path / KEPT).exists()
    plain = pd.read_parquet(tmp_path / "toy" / "results").sort_values("seed", ignore_index=True)
    pd.testing.assert_frame_equal(plain, rows.to_pandas())


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "foreign"])
def test_a_damaged_cache_is_made_again(store: Store, tmp_path: Path, damage: str) -> None:
    publish(store, 120)
    seeds(store)
    whole = (tmp_path / KEPT).read_bytes()
    for position in range(0, len(whole), 97):
        data = {
            "truncated": whole[:position],
            "flipped": whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :],
            "emptied": b"",
            "foreign": (tmp_path / "toy" / "results" / "0000-1.parquet").read_bytes(),
        }
        (tmp_path / KEPT).write_bytes(data[damage])
        assert seeds(store) == list(range(120))
        assert (tmp_path / KEPT).read_bytes() == whole
        if damage in ("emptied", "foreign"):
            break


def test_a_row_that_changed_is_read_again(store: Store, tmp_path: Path) -> None:
    publish(store, 120)
    seeds(store)
    file = tmp_path / "toy" / "results" / "0007-1.parquet"
    size = file.stat().st_size
    file.unlink()
    store.publish_row("toy", "0007-1", pa.table({"seed": [-7], "outcome": [1.0]}))
    assert file.stat().st_size == size
    assert seeds(store)[7] == -7


def test_a_row_damaged_after_it_was_read_is_named(store: Store, tmp_path: Path) -> None:
    publish(store, 120)
    seeds(store)
    file = tmp_path / "toy" / "results" / "0007-1.parquet"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(StorageError, match=r"0007-1.parquet: found a damaged row .* run again"):
        seeds(store)


@pytest.mark.parametrize("count", [0, 2])
def test_a_file_that_is_not_one_row_is_damaged(store: Store, count: int) -> None:
    store.publish_row("toy", "a-1", pa.table({"seed": pa.array(range(count), pa.int64())}))
    with pytest.raises(StorageError, match=rf"a-1.parquet: found a damaged row \({count} rows in it\)"):
        seeds(store)


def test_rows_whose_columns_changed_their_type_are_said(store: Store) -> None:
    store.publish_row("toy", "a-1", pa.table({"seed": [1]}))
    store.publish_row("toy", "b-1", pa.table({"seed": ["one"]}))
    with pytest.raises(StorageError, match=r"toy/results: found rows that do not fit together \(.*seed.*\)$"):
        seeds(store)


def test_a_storage_that_cannot_be_written_is_read_all_the_same(store: Store, tmp_path: Path) -> None:
    publish(store, 120)
    (tmp_path / "toy" / "cache").write_text("no folder can be here")
    assert seeds(store) == list(range(120))
    assert [path.name for path in tmp_path.rglob(".*")] == []
