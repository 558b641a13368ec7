"""The classification study end to end: from its spec to rows, tables and a report, and nothing is computed twice."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from sweeps import load_results
from tests.acceptance.test_resume import snapshot
from tests.support import processes

pytestmark = pytest.mark.slow

SPEC = """\
name: small
study: classification
grid:
  model: [resnet8]
  training: [standard, adversarial]
  structure: [channels]
  initializer: [magnitude, hydra]
  scope: [global]
  seed: [0]
  ratio: [0.5, 0.95]
  exclude:
    - {training: standard, initializer: hydra}
    - {training: adversarial, initializer: magnitude}
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
ROWS, BASELINES = 4, 2


def test_a_spec_becomes_a_report_and_nothing_is_computed_twice(tmp_path: Path) -> None:
    spec, storage = tmp_path / "small.yaml", tmp_path / "runs"
    spec.write_text(SPEC)
    processes.run("run", str(spec), "--storage", str(storage))
    rows = load_results(str(storage / "small"))
    assert len(rows) == ROWS + BASELINES
    # Two pretrainings, and the magnitudes that both ratios share.
    assert len(os.listdir(storage / "checkpoints")) == 3
    pruned = rows[rows["initializer"] != "none"]
    assert (pruned["channels_kept"] == (pruned["channels_total"] * (1 - pruned["ratio"])).round()).all()
    assert set(pruned["best_epoch"]) == {1}

    found = pd.read_parquet(storage / "small" / "perturbations").merge(rows, on="row_key")
    assert set(found["attack"]) <= {"ddn", "fmn_l1"}
    assert found["linf"].between(0, 1).all()
    page = (storage / "small" / "report" / "report.html").read_text("utf-8")
    for shown in ("median L2 distance", "accuracy, best epoch", "multiply–accumulates", "channels or weights pruned"):
        assert shown in page

    finished = snapshot(storage / "small" / "results") | snapshot(storage / "checkpoints")
    processes.run("run", str(spec), "--storage", str(storage))
    assert snapshot(storage / "small" / "results") | snapshot(storage / "checkpoints") == finished
