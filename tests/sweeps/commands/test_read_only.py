"""A storage that may only be read answers every question; a report of it is written elsewhere, and a run is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import PermissionDeniedError

from sweeps.engine import cluster
from sweeps.planning import plan
from sweeps.spec import recorded
from sweeps.storage import Store, compaction
from sweeps.storage.backends.disk import Disk
from tests.support import toy_rows, toy_study
from tests.support.command_line import Sweeps, assert_refused


@pytest.fixture(params=["disk", "bucket"])
def store(request: pytest.FixtureRequest, sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Leave a toy sweep, one of whose rows failed, where nothing can be written from then on."""
    store, loaded = Store("runs" if request.param == "disk" else request.getfixturevalue("s3")()), toy_rows.load()
    Path("toy.yaml").write_text(toy_study.SPEC)
    every = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.publish(store, loaded, every[1:])
    toy_rows.fail(store, loaded, every[:1])
    recorded.write(loaded, store)

    written, root = Disk._written, str(Path("runs").absolute())

    def refuse(disk: Disk, *arguments: Any) -> Any:
        if disk._root == root:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return written(disk, *arguments)

    def forbid(*arguments: object, **options: object) -> None:
        raise PermissionDeniedError("The operation lacked the necessary privileges: status: 403 Forbidden")

    monkeypatch.setattr(Disk, "_written", refuse)
    monkeypatch.setattr(obstore, "put", forbid)
    # What was read is wanted for the next time, though there are few rows.
    monkeypatch.setattr(compaction, "WORTH_KEEPING", 1)
    return store


def test_every_question_is_answered(store: Store, sweeps: Sweeps) -> None:
    sweep = store.describe("toy")
    for status, *arguments in (
        (1, "status", sweep),
        (0, "results", sweep),
        (0, "failures", sweep),
        (0, "analyze", sweep),
        (0, "power", sweep),
        (0, "plan", "toy.yaml", "--storage", store.location),
        (0, "storage", store.location),
        (0, "storage", store.location, "--clean", "--yes"),
    ):
        ran = sweeps(*map(str, arguments))
        assert (ran.status, ran.errors) == (status, ""), arguments


def test_a_report_goes_elsewhere(store: Store, sweeps: Sweeps) -> None:
    refused = sweeps("report", store.describe("toy"))
    assert refused.status == 2
    assert refused.errors.count("\n") == 1
    assert "cannot be written" in refused.errors
    assert "`sweeps report --output DIR` writes the report elsewhere" in refused.errors
    ran = sweeps("report", store.describe("toy"), "--output", "a report")
    assert (ran.status, ran.errors) == (0, "")
    assert "24 of 25 rows finished, 1 failed" in Path("a report", "report.html").read_text()


def test_a_run_is_refused_before_anything_is_computed(
    store: Store, sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "connected", None)
    ran = sweeps("run", "toy.yaml", "--retry-failed", "--storage", store.location)
    assert_refused(ran, f"storage {store.location!r}: cannot be written", "expected a writable folder")


def test_output_is_a_folder_of_ones_own(sweeps: Sweeps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    loaded = toy_rows.load()
    toy_rows.publish(Store("runs"), loaded)
    toy_rows.publish(Store("runs"), toy_rows.load("name=other"))
    ran = sweeps("report", "runs/toy", "--output", "~/my report")
    assert (ran.status, ran.errors) == (0, "")
    assert (tmp_path / "my report" / "report.html").exists()
    assert f"{tmp_path}/my report/report.html" in ran.output
    ran = sweeps("report", "runs/toy", "runs/other", "--output", "~/my report")
    assert (ran.status, ran.errors) == (0, "")
    assert (tmp_path / "my report" / "compared-with-other.html").exists()
    assert not Path("runs", "toy", "report").exists()
    Path("file").touch()
    assert_refused(sweeps("report", "runs/toy", "--output", "file"), "found a file, expected a folder")
    assert_refused(sweeps("report", "runs/toy", "--output", ""), "found nothing, expected a path")
