"""The classification study end to end, killed half way: what is finished stays, and the rest comes out bit for bit."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from sweeps import load_results
from tests import processes
from tests.test_resume import snapshot

pytestmark = pytest.mark.slow

SPEC = """\
name: small
study: classification
grid:
  model: [resnet8]
  training: [standard, adversarial]
  importance: [l1, random, hydra]
  scope: [layer]
  seed: [0]
  sparsity: [0, 0.5, 0.95]
  exclude: [{training: standard, importance: hydra}]
dataset: {name: emblems, train_images: 60, test_images: 24, image_size: 16}
pretrain: {epochs: 2, learning_rate: 0.05, batch_size: 16, schedule: one-cycle}
adversary: {steps: 1, random_start: true}
retrain: {epochs: 1, learning_rate: 0.01, batch_size: 16}
evaluation:
  attack: {name: apgd, epsilon: 0.03, steps: 3}
  distances: [{name: ddn, steps: 5}, {name: fmn, norm: l1, steps: 5}]
  timing_repeats: 3
  timing_warm_up: 1
"""
ROWS, BASELINES = 15, 2

KEYS = ["model", "training", "importance", "scope", "seed", "sparsity"]
ROBUSTNESS = ["accuracy_clean", "accuracy_adv", "attack_success", "median_l0", "median_l1", "median_l2", "median_linf"]
COSTS = ["params_total", "params_kept", "macs_dense", "macs", "channels_kept", "fewest_channels", "best_epoch"]
REPRODUCED = ["row_key", "checkpoint_key", *KEYS, *ROBUSTNESS, *COSTS]


def test_killed_sweep_equals_an_undisturbed_one_and_is_reported(tmp_path: Path) -> None:
    spec = tmp_path / "small.yaml"
    spec.write_text(SPEC)
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"

    processes.run("run", str(spec), "--storage", str(undisturbed))

    driver = processes.start("run", str(spec), "--storage", str(disturbed))
    results = disturbed / "small" / "results"
    processes.wait_until(lambda: results.exists() and len(list(results.glob("*.parquet"))) >= 4, "four rows")
    processes.kill_with_its_ray(driver)
    finished = snapshot(results) | snapshot(disturbed / "checkpoints")
    processes.run("run", str(spec), "--storage", str(disturbed))
    after = snapshot(results) | snapshot(disturbed / "checkpoints")
    assert finished.items() <= after.items(), "something finished was computed again"

    expected, resumed = (load_results(str(storage / "small"))[REPRODUCED] for storage in (undisturbed, disturbed))
    assert len(expected) == ROWS + BASELINES
    pd.testing.assert_frame_equal(resumed, expected, check_exact=True)
    assert len(os.listdir(disturbed / "checkpoints")) == 2
    found = pd.read_parquet(disturbed / "small" / "perturbations").merge(resumed, on="row_key")
    assert set(found["attack"]) <= {"ddn", "fmn_l1"}
    assert found["linf"].between(0, 1).all()
    page = (disturbed / "small" / "report" / "report.html").read_text("utf-8")
    for shown in ("median L2 distance", "accuracy, best epoch", "multiply–accumulates", "channels pruned"):
        assert shown in page
