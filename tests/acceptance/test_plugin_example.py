"""The road from outside: the example package is installed, swept with, and uninstalled; a broken one harms nobody."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

SPEC = """\
name: outside
study: classification
grid:
  model: [resnet8]
  training: [adversarial]
  structure: [kernels, unstructured]
  initializer: [lamp, magnitude]
  scope: [global]
  seed: [0]
  ratio: [0, 0.5]
dataset: {name: emblems, train_images: 48, test_images: 12, image_size: 16}
pretrain: {epochs: 1, batch_size: 16, learning_rate: 0.02, schedule: constant}
adversary: {name: noise, epsilon: 0.03}
retrain: {epochs: 1, batch_size: 16, learning_rate: 0.01, schedule: constant}
evaluation:
  attack: {name: noise, epsilon: 0.05}
  distances: [{name: ddn, steps: 2}]
  timing_repeats: 1
  timing_warm_up: 0
"""

BROKEN = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "broken-example"
version = "0.0.1"
[project.entry-points."robustprune.initializers"]
torn = "broken_example:TORN"
[tool.setuptools]
py-modules = ["broken_example"]
"""


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True, capture_output=True)


def sweeps(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sweeps", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Path]:
    """Install the example and a broken package; yield a folder with a spec."""
    source = shutil.copytree(EXAMPLES / "plugin", tmp_path / "plugin")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "pyproject.toml").write_text(BROKEN)
    (broken / "broken_example.py").write_text("import nothing_of_this_name\n")
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "outside.yaml").write_text(SPEC)
    names = ["robust-pruning-example", "broken-example"]
    try:
        pip("install", "--no-deps", "--no-build-isolation", str(source), str(broken))
        yield folder
    finally:
        pip("uninstall", "--yes", *names)


@pytest.mark.slow
def test_a_package_from_outside_adds_a_method_a_structure_and_an_attack(installed: Path) -> None:
    ran = sweeps(installed, "run", "outside.yaml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = pd.read_parquet(installed / "runs" / "outside" / "results")
    pruned = rows[(rows["initializer"] != "none") & (rows["ratio"] == 0.5)]
    assert set(zip(pruned["structure"], pruned["initializer"], strict=True)) == {
        (structure, initializer) for structure in ("kernels", "unstructured") for initializer in ("lamp", "magnitude")
    }
    assert (pruned["params_kept"] < 0.6 * pruned["params_total"]).all()
    # What a broken plug-in is called, of which package, and why; and that it did no harm.
    assert "torn" in ran.stdout
    assert "broken-example==0.0.1" in ran.stdout
    assert "nothing_of_this_name" in ran.stdout
    asked = sweeps(installed, "plan", "outside.yaml", "--set", "grid.initializer=[torn]")
    assert asked.returncode == 2
    assert "Traceback" not in asked.stderr

    # Another version of the plug-in is another method; what does without it is found again.
    point = subprocess.run(
        [sys.executable, "-c", "import robust_pruning_example; print(robust_pruning_example.__file__)"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    metadata = next(Path(point).parents[1].glob("robust_pruning_example-*.dist-info/METADATA"))
    metadata.write_text(metadata.read_text().replace("Version: 1.0.0", "Version: 2.0.0"))
    planned = sweeps(installed, "plan", "outside.yaml", "--set", "name=again")
    assert planned.returncode == 0, planned.stderr
    metadata.write_text(metadata.read_text().replace("Version: 2.0.0", "Version: 1.0.0"))
    before = sweeps(installed, "plan", "outside.yaml", "--set", "name=again")
    assert "pretrain checkpoints: 1 present" in before.stdout
    assert "pretrain checkpoints: 1 present" not in planned.stdout  # it was trained under the plug-in's attack


@pytest.mark.slow
def test_without_the_package_its_names_are_unknown_and_nothing_is_computed(tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text(SPEC)
    planned = sweeps(tmp_path, "plan", "outside.yaml")
    assert planned.returncode == 2
    assert "Traceback" not in planned.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_study_of_the_examples_runs(tmp_path: Path) -> None:
    for name in ("study.py", "study.yaml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    ran = sweeps(tmp_path, "run", "study.yaml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "outliers" / "results")
    error = rows.pivot_table("error", index="share", columns="estimator")
    assert len(rows) == 40
    assert (error.loc[0.2:, "median"] < error.loc[0.2:, "mean"] / 2).all()
