"""What was published and then damaged is not believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sweeps.errors import StorageError
from sweeps.storage import Store

CHECKPOINT: dict[str, np.ndarray] = {"weights": np.arange(12, dtype=np.float32).reshape(3, 4)}


def row(value: float) -> pa.Table:
    return pa.table({"seed": [1], "outcome": [value], "note": pa.array([None], pa.string())})


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "removed"])
def test_damaged_tensors_are_no_checkpoint(local: Store, tmp_path: Path, damage: str) -> None:
    local.publish_checkpoint("base-1", CHECKPOINT, {})
    (file,) = (tmp_path / "checkpoints" / "base-1").glob("*.safetensors")
    data = file.read_bytes()
    if damage == "removed":
        file.unlink()
    else:
        changed = {"truncated": data[:-1], "emptied": b"", "flipped": data[:-1] + bytes([data[-1] ^ 1])}
        file.write_bytes(changed[damage])
    assert local.load_checkpoint("base-1") is None


def test_a_description_with_any_bit_flipped_never_yields_wrong_tensors(local: Store, tmp_path: Path) -> None:
    local.publish_checkpoint("base-1", CHECKPOINT, {})
    file = tmp_path / "checkpoints" / "base-1" / "meta.json"
    data = file.read_bytes()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        loaded = local.load_checkpoint("base-1")
        assert loaded is None or (loaded["weights"] == CHECKPOINT["weights"]).all()


def test_a_damaged_checkpoint_can_be_published_again(local: Store, tmp_path: Path) -> None:
    local.publish_checkpoint("base-1", CHECKPOINT, {})
    for file in (tmp_path / "checkpoints" / "base-1").iterdir():
        file.write_bytes(b"")
    local.publish_checkpoint("base-1", CHECKPOINT, {})
    assert local.load_checkpoint("base-1") is not None


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_row_is_named(local: Store, tmp_path: Path, keep: int) -> None:
    local.publish_row("toy", "a-1", row(0.1))
    local.publish_row("toy", "b-1", row(0.2))
    file = tmp_path / "toy" / "results" / "b-1.parquet"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(StorageError, match=r"toy/results/b-1.parquet: found a damaged row .* run again"):
        local.read_rows("toy")


def test_a_damaged_table_is_named_or_shows_the_same_numbers(local: Store, tmp_path: Path) -> None:
    table = pa.table({"x": np.array([0.1, 0.2], np.float32), "name": pa.array(["one", "two"]).dictionary_encode()})
    local.publish_table("toy", "boxes", "a-1", table)
    file = tmp_path / "toy" / "boxes" / "a-1.parquet"
    data = file.read_bytes()
    flipped = [bytes(byte ^ 4 * (at == place) for at, byte in enumerate(data)) for place in range(4, len(data), 5)]
    refused = []
    for damaged in (b"", data[:100], data[:-1], *flipped):
        file.write_bytes(damaged)
        try:
            found = local.read_table("toy", "boxes", "a-1")
        except StorageError as error:
            refused.append(str(error))
            continue
        assert found is not None
        if found.schema.equals(table.schema):
            assert found.equals(table)
    assert all("toy/boxes/a-1.parquet: found a damaged table" in message for message in refused)
    assert len(refused) > len(flipped) / 4


def test_a_row_with_a_flipped_bit_never_shows_another_number(local: Store, tmp_path: Path) -> None:
    local.publish_row("toy", "a-1", row(0.1))
    file = tmp_path / "toy" / "results" / "a-1.parquet"
    data = file.read_bytes()
    refused = 0
    for bit in range(0, 8 * len(data), 7):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            found = local.read_rows("toy")
        except StorageError:
            refused += 1
            continue
        assert found is not None
        if "outcome" in found.column_names:
            assert found["outcome"].to_pylist() == [0.1]
    assert refused
