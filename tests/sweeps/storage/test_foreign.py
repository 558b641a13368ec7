"""What others put beside a sweep's own files is named, read by nobody, and never removed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pandas as pd
import pytest

from sweeps import load_results
from sweeps.planning import plan
from sweeps.storage import Store, cleaning, names, usage
from tests.support import toy_rows
from tests.support.command_line import Sweeps

READERS = {
    "status": ("status", "runs/toy"),
    "results": ("results", "runs/toy", "--format", "csv"),
    "analyze": ("analyze", "runs/toy", "--format", "csv"),
    "plan": ("plan", "toy.yaml"),
}


@pytest.fixture
def store(sweeps: Sweeps) -> Store:
    store, loaded = Store("runs"), toy_rows.load()
    toy_rows.publish(store, loaded)
    Path("toy.yaml").write_text(loaded.to_yaml())
    return store


def put_beside_rows() -> list[Path]:
    """Leave what people and their tools leave."""
    results = Path("runs", "toy", "results")
    row = sorted(results.iterdir())[0]
    left = {
        ".DS_Store": b"\0",
        "notes.txt": b"to be published",
        ".notes.txt.swp": b"\0",
        ".notes.tmp": b"\0",
        row.name.replace(".parquet", " (1).parquet"): row.read_bytes(),
        f"{row.name}.bak": row.read_bytes(),
    }
    for name, data in left.items():
        (results / name).write_bytes(data)
    pd.DataFrame({"seed": [1, 2], "outcome": ["x", "y"]}).to_parquet(results / "my-results.parquet")
    (results / "backup").mkdir()
    (results / "backup" / row.name).write_bytes(row.read_bytes())
    return [*(results / name for name in left), results / "my-results.parquet", results / "backup" / row.name]


def test_what_is_no_row_is_named_and_no_command_minds_it(store: Store, sweeps: Sweeps, said: list[str]) -> None:
    before = {name: sweeps(*arguments) for name, arguments in READERS.items()}
    assert said == []
    left = put_beside_rows()
    for name, arguments in READERS.items():
        assert sweeps(*arguments) == before[name], name
    assert len(said) == 1
    assert said[0].startswith("runs/toy/results: found .DS_Store, .notes.tmp, .notes.txt.swp and 4 more, expected rows")
    assert "delete" not in said[0]
    assert all(path.exists() for path in left)


def test_rows_are_recomputed_neither_for_a_copy_nor_without_one(store: Store, said: list[str]) -> None:
    put_beside_rows()
    assert not plan.make(toy_rows.load(), store).todo
    assert len(load_results("runs/toy")) == 25


def test_cleaning_leaves_what_is_not_ours(store: Store, sweeps: Sweeps, said: list[str]) -> None:
    left = put_beside_rows()
    toy_rows.publish_checkpoints(store, ["base-1"])
    key = next(iter(store.row_keys("toy")))
    mine = (
        "runs/toy/my analysis/figure.png",
        "runs/toy/my_analysis/table.parquet",
        "runs/toy/notes.txt",
        "runs/toy/doses_seen/notes.parquet",
        "runs/toy/failures/notes.json",
        "runs/checkpoints/base-1/notes.txt",
        "runs/checkpoints/base-1/mine.safetensors",
        "runs/checkpoints/mine/best.safetensors",
        "runs/.notes.tmp",
    )
    for name in mine:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"mine")
    ours = Path("runs", "toy", "doses_seen", f"{key}-01234567.parquet")
    ours.write_bytes(b"left by a writer that died")
    store.note_checkpoints("toy", [])
    age()
    found = cleaning.removals(store, usage.survey(store), unused=True, now_s=time.time())
    removed = {item.name for removal in found for item in removal.items}
    assert {name for name in removed if not name.startswith("checkpoints/base-1/")} == {str(ours.relative_to("runs"))}
    ran = sweeps("storage", "runs", "--clean", "--unused", "--yes")
    assert ran.status == 0
    assert not ours.exists()
    assert store.checkpoints() == set()
    assert all(path.exists() for path in (*map(Path, mine), *left))


def age() -> None:
    for path in Path("runs").rglob("*"):
        if path.is_file():
            os.utime(path, (0, 0))


@pytest.mark.parametrize(
    ("name", "unfinished"),
    [
        (".a-1.parquet.0123456789abcdef0123456789abcdef.tmp", True),
        ("toy/results/.a-1.parquet.0123.tmp", True),
        ("toy/results/.a-1.parquet.lock.tmp", True),
        (".write-test-0123", True),
        (".notes.tmp", False),
        ("a-1.parquet.0123.tmp", False),
        (".write-test-of-mine", False),
    ],
)
def test_what_a_writer_has_not_finished_is_told_by_its_name(name: str, unfinished: bool) -> None:
    assert names.is_unfinished(name) == unfinished
