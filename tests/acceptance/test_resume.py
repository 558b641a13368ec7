"""The detection study end to end, killed half way: what is finished stays, and the rest comes out bit for bit."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from sweeps import load_results
from tests.support import processes

pytestmark = pytest.mark.slow

SPEC = """\
name: tiny
study: detection
grid:
  structure: [unstructured, structured]
  initializer: [hydra, deeplift]
  colour: [rgb, greyscale]
  seed: [0]
  ratio: [0, 0.5, 0.9]
  exclude:
    - {colour: greyscale, initializer: hydra}
dataset: {name: shapes, train_images: 24, val_images: 12}
detector: {config: yolov3-nano, image_size: 64}
base: {epochs: 3, learning_rate: 0.004}
pretrain: {epochs: 2, learning_rate: 0.01}
finetune: {epochs: 1, learning_rate: 0.004}
initializers:
  deeplift: {images: 8}
evaluation: {timing_repeats: 3, timing_warm_up: 1}
"""
TRIALS, RATIOS, BASELINES = 6, 3, 2
PUBLISHED = {"base": 2, "pretrain": 2, "score": 2}

METRICS = ["map_adv", "map50_adv", "map_clean", "map50_clean"]
COSTS = ["params_total", "params_kept", "params_compact", "macs_dense", "macs", "macs_compact"]
REPRODUCED = ["row_key", "checkpoint_key", "structure", "initializer", "colour", "seed", "ratio", *METRICS, *COSTS]
"""The columns that no crash may change; the others tell when, how long, and in which engine that was shortest."""


def metrics(storage: Path) -> pd.DataFrame:
    return load_results(str(storage / "tiny"))[REPRODUCED]


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_killed_sweep_equals_an_undisturbed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    spec = tmp_path / "tiny.yaml"
    spec.write_text(SPEC)
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"

    processes.run("run", str(spec), "--storage", str(undisturbed))

    driver = processes.start("run", str(spec), "--storage", str(disturbed))
    results = disturbed / "tiny" / "results"
    processes.wait_until(lambda: results.exists() and len(list(results.glob("*.parquet"))) >= 4, "four rows")
    processes.kill_with_its_ray(driver)
    finished = snapshot(results) | snapshot(disturbed / "checkpoints")
    processes.run("run", str(spec), "--storage", str(disturbed))
    after = snapshot(results) | snapshot(disturbed / "checkpoints")
    assert finished.items() <= after.items(), "something finished was computed again"

    expected, resumed = metrics(undisturbed), metrics(disturbed)
    assert len(expected) == TRIALS * RATIOS + BASELINES
    pd.testing.assert_frame_equal(resumed, expected, check_exact=True)
    checkpoints = os.listdir(disturbed / "checkpoints")
    assert {stage: sum(key.startswith(stage) for key in checkpoints) for stage in PUBLISHED} == PUBLISHED
