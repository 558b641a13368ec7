"""A sweep from a notebook, whose event loop runs, and from a script without a guard of `__main__`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

SCRIPT = """\
import sweeps

spec = {
    "name": "scripted",
    "study": "study:Outliers",
    "grid": {"estimator": ["mean", "median"], "seed": range(3), "share": (0, 0.4)},
}
print(sweeps.plan(spec, storage="kept").frame["state"].tolist())
finished = sweeps.run(spec, storage="kept", cpus=1, quiet=True)
assert finished.is_complete and len(finished.frame) == 12
again = sweeps.run(spec, storage="kept", set={"grid.seed": [0, 1, 2, 3]}, cpus=1, quiet=True)
print(len(again.frame), again.report is not None, again.failures.empty)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the example study, where nothing else is."""
    shutil.copy(ROOT / "examples" / "study.py", tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    return tmp_path


def test_the_notebook_runs(folder: Path) -> None:
    notebook = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "outputs tell of a machine"
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = "\n".join(output["data"]["text/html"] for output in shown if "text/html" in output.get("data", {}))
    assert "40 of 40 rows are finished" in pages
    assert "mean vs median" in pages
    assert (folder / "runs" / "outliers" / "report" / "report.html").is_file()


def test_a_script_needs_no_guard(folder: Path) -> None:
    (folder / "script.py").write_text(SCRIPT)
    ran = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [str(["missing"] * 12), "16 True True"]
    assert "Traceback" not in ran.stderr
