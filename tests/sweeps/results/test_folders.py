"""Readers speak of exactly the folder that they were given, whatever the spec in it calls itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps import load_results
from sweeps.planning import plan
from sweeps.results.sweep import open_sweep
from sweeps.spec import recorded
from sweeps.storage import Store
from tests.support import toy_rows, toy_study
from tests.support.command_line import Sweeps
from tests.sweeps.conftest import Uri

COMMANDS = ("status", "results", "analyze", "power", "failures", "report")


def publish(store: Store, name: str) -> None:
    """Publish all rows of a toy sweep but one, which failed."""
    loaded = toy_rows.load(f"name={name}")
    every = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.publish(store, loaded, every[1:])
    toy_rows.fail(store, loaded, every[:1])
    recorded.write(loaded, store)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of a sweep of which the first one has lost its rows since."""
    store = Store(str(tmp_path / "runs"))
    publish(store, "toy")
    shutil.copytree(tmp_path / "runs" / "toy", tmp_path / "runs" / "copy")
    for file in (tmp_path / "runs" / "toy" / "results").iterdir():
        file.unlink()
    return tmp_path / "runs" / "copy"


def listed(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("written", ["{0}", "{0}/", "{0}/results/..", "{1}", "."])
def test_a_copy_is_told_apart_from_the_first(copy: Path, sweeps: Sweeps, written: str) -> None:
    if written == ".":
        os.chdir(copy)
    before = listed(copy.with_name("toy"))
    for command in COMMANDS:
        ran = sweeps(command, written.format(copy, os.path.relpath(copy)))
        said = ran.output + ran.errors
        assert ran.status == (1 if command == "status" else 0), said
        assert "toy:" not in said
        if command == "status":
            assert f"copy: {toy_study.ROWS - 1} of {toy_study.ROWS} rows finished, 1 failed" in said
    page = (copy / "report" / "report.html").read_text()
    assert f"{toy_study.ROWS - 1} of {toy_study.ROWS} rows finished" in page
    assert "<title>copy</title>" in page
    assert listed(copy.with_name("toy")) == before


@pytest.mark.parametrize("place", ["runs/latest", "elsewhere"])
def test_a_link_leads_to_the_storage_of_the_folder(copy: Path, tmp_path: Path, place: str, sweeps: Sweeps) -> None:
    link = tmp_path / place
    link.symlink_to(copy)
    assert sweeps("report", str(link)).status == 0
    assert (copy / "report" / "report.html").exists()
    assert open_sweep(str(link)).store.location == str(copy.parent)


def test_a_folder_that_moved_out_of_its_storage_keeps_what_lies_there(copy: Path, tmp_path: Path) -> None:
    shutil.move(copy, tmp_path / "large")
    copy.symlink_to(tmp_path / "large")
    (copy.parent / "checkpoints").mkdir()
    opened = open_sweep(str(copy))
    assert (opened.store.location, opened.spec.name) == (str(copy.parent), "copy")
    assert len(load_results(copy)) == toy_study.ROWS - 1


def test_a_copy_in_a_bucket_is_told_apart_too(s3: Uri, sweeps: Sweeps) -> None:
    store = Store(s3())
    publish(store, "toy")
    for file in store.files.list("toy", recursive=True):
        store.files.publish(f"copy/{file.name}", store.files.read(f"toy/{file.name}"))
        if file.name.startswith("results/"):
            store.files.delete(f"toy/{file.name}")
    for command in COMMANDS:
        ran = sweeps(command, store.describe("copy"))
        assert ran.status == (1 if command == "status" else 0), ran.errors
        assert "toy:" not in ran.output + ran.errors
    names = {file.name for file in store.files.list("toy", recursive=True)}
    assert not [name for name in names if name.startswith(("report", "cache"))]
    assert store.files.exists("copy/report/report.html")


READ: dict[str, Callable[[Path], object]] = {"path": load_results, "text": lambda path: load_results(f"{path}/")}


@pytest.mark.parametrize("read", READ.values(), ids=READ)
def test_results_are_read_by_path(copy: Path, read: Callable[[Path], list[object]]) -> None:
    assert len(read(copy)) == toy_study.ROWS - 1
