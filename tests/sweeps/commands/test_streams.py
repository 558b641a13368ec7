"""What cannot be printed, or by whom it is not read, decides nothing: real processes, on streams of all kinds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.reporting.terminal import streams
from sweeps.storage import Store
from tests.support import toy_rows, toy_study
from tests.support.processes import ROOT

pytestmark = pytest.mark.slow

SWEEPS = f"{sys.executable} -m sweeps"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec and its storage, where all rows are finished, but no report is written."""
    folder = tmp_path_factory.mktemp("größe")
    (folder / "toy.yaml").write_text(toy_study.SPEC)
    toy_rows.publish(Store(str(folder / "runs")), toy_rows.load())
    return folder


def shell(folder: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("sweeps ", f"{SWEEPS} ")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="latin-1",
        check=False,
    )


@pytest.mark.parametrize("redirected", [">/dev/full", ">&- 2>&- <&-", "| head -1"])
def test_a_run_ends_with_its_report_whatever_becomes_of_its_output(finished: Path, redirected: str) -> None:
    report = finished / "runs" / "toy" / "report" / "report.html"
    report.unlink(missing_ok=True)
    ran = shell(finished, f"sweeps run toy.yaml {redirected}")
    assert ran.returncode == 0
    assert report.exists()
    lost = "standard output could not be written (No space left on device); what was computed is in the storage\n"
    assert ran.stderr == (lost if redirected == ">/dev/full" else "")


def test_what_only_prints_has_failed_where_it_cannot(finished: Path) -> None:
    ran = shell(finished, "sweeps results runs/toy --format csv >/dev/full")
    assert (ran.returncode, ran.stderr) == (
        2,
        "Error: standard output could not be written (No space left on device)\n",
    )
    ran = shell(finished, "sweeps results runs/toy --format json | head -1")
    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", "[\n")


def test_what_a_locale_cannot_show_is_replaced(finished: Path) -> None:
    (finished / "→.yaml").write_text(f"{toy_study.SPEC}description: →\n", encoding="utf-8")
    in_c = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    # Means have signs, tables lines, and names of files are printed as well.
    ran = shell(finished, "sweeps run →.yaml && sweeps plan größe→.yaml", **in_c)
    assert ran.returncode == 2
    assert ran.stderr.startswith("Error: spec 'gr")
    assert ran.stderr.count("\n") == 1


def test_other_errors_handlers_stay_and_what_python_would_keep_is_replaced() -> None:
    for errors, shown in (("strict", b"?"), ("surrogateescape", b"?"), ("backslashreplace", rb"\u2192")):
        ends = os.pipe()
        with os.fdopen(ends[1], "w", encoding="ascii", errors=errors) as stream, os.fdopen(ends[0], "rb") as output:
            streams.lasting(stream, ends[1]).write("→")
            stream.close()
            assert output.read() == shown


def test_a_pipe_that_does_not_wait_is_waited_for(finished: Path) -> None:
    """As the pipes of some programs that start others: writing to them fails while they are full."""
    ends = os.pipe()
    os.set_blocking(ends[1], False)
    code = f"import sys; from sweeps.reporting.terminal import streams; streams.settle(); print('x' * {10**6})"
    writer = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=ends[1])
    os.close(ends[1])
    with os.fdopen(ends[0], "rb") as output:
        assert len(output.read()) == 10**6 + 1
    assert writer.wait() == 0
