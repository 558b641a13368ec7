"""What a large sweep costs before anything is computed, and after: planning it, and loading its rows.

A simulated sweep of 100,000 rows, half of them finished, is planned by `sweeps plan` and looked at by `sweeps status`,
and so is the demo over five fields of its settings as axes, which has as many rows of 768 settings; 10,000 rows of a
smaller one are loaded into pandas, first from their own files and then with what that left behind.
Each is measured in a process of its own, the commands as a user waits for them, loading without Python's start.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from benchmarks import simulated_study
from benchmarks.output import parser, write
from sweeps import spec
from sweeps.planning import plan as planning
from sweeps.spec import Spec
from sweeps.storage import Store, rows

RATIOS, TRIALS_PER_SEED = 25, 8

FIELDS = {
    "attack.epsilon": [0.02, 0.03, 0.04, 0.05],
    "pretrain.epochs": [1, 2, 3, 4],
    "pretrain.learning_rate": [0.001, 0.002, 0.003],
    "finetune.epochs": [1, 2, 3, 4],
    "finetune.learning_rate": [0.001, 0.002, 0.003, 0.004],
}
"""Axes of the demo's settings, all of which matter to every row."""

LOAD = """\
import sys, time
from sweeps import load_results
start = time.perf_counter()
assert len(load_results(sys.argv[1])) == 10_000
print(time.perf_counter() - start)
"""


class Ran(NamedTuple):
    """What a process took, and printed."""

    seconds: float
    peak_mb: float
    output: str


def main() -> None:
    """Build both sweeps, measure, and print the figures."""
    arguments = parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="sweeps-planning-") as folder:
        large, small = (f"{folder}/{name}" for name in ("large", "small"))
        built = multiprocessing.get_context("spawn").Pool(2)
        with built:
            built.starmap(build, [(large, 500, 0.5), (small, 50, 1.0)])
        plan = run("-m", "sweeps", "plan", f"{large}/spec.yaml", "--storage", large)
        status = run("-m", "sweeps", "status", f"{large}/simulated", expected=1)
        fields = [f"--set=grid.{path}={values}" for path, values in FIELDS.items()]
        over_fields = run("-m", "sweeps", "plan", "demo", "--storage", large, *fields)
        cold, cached = (float(run("-c", LOAD, f"{small}/simulated").output) for _ in range(2))
        figures = {
            "rows": 500 * TRIALS_PER_SEED * RATIOS,
            "finished": len(os.listdir(f"{large}/simulated/results")),
            "plan_s": plan.seconds,
            "plan_peak_mb": plan.peak_mb,
            "status_s": status.seconds,
            "status_peak_mb": status.peak_mb,
            "fields_plan_s": over_fields.seconds,
            "fields_plan_peak_mb": over_fields.peak_mb,
            "load_10000_s": cold,
            "load_10000_cached_s": cached,
        }
    write(figures, arguments.format)


def build(storage: str, seeds: int, share: float) -> None:
    """Make a sweep of `seeds` × 8 trials × 25 rows, the first `share` of them finished, as a run would leave it."""
    grid = [f"grid.seed={list(range(seeds))}", f"grid.ratio={[ratio / RATIOS for ratio in range(RATIOS)]}"]
    loaded = spec.parse(simulated_study.SPEC, "simulated", [*grid, "grid.exclude=[]", "diary=unused"])
    store = Store(storage)
    # Built in haste: this storage need not outlive a power failure.
    with patch("os.fsync"):
        store.write_spec(loaded.name, loaded.to_yaml())
        Path(storage, "spec.yaml").write_text(loaded.to_yaml())
        trials = planning.trials(loaded)
        for trial in trials[: int(share * len(trials))]:
            for stage in trial.shared:
                meta = {"stage": stage.name, "cell": trial.cell, "seconds": 4.0}
                store.publish_checkpoint(stage.key, {"weights": np.zeros(1)}, meta)
            for row in trial.rows:
                store.publish_row(loaded.name, str(row.key), rows.table(_values(loaded, row), loaded.study))


def run(*command: str, expected: int = 0) -> Ran:
    """Run Python in a process of its own."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([sys.executable, *command], stdout=output)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read()
    if process.returncode != expected:
        raise subprocess.CalledProcessError(process.returncode, process.args, said)
    return Ran(seconds, used.ru_maxrss / 1024, said)


def _values(loaded: Spec, row: planning.Row) -> dict[str, Any]:
    provenance: dict[str, Any] = {
        "sweep": loaded.name,
        "row_key": str(row.key),
        "spec_hash": "0123456789abcdef",
        "checkpoint_key": row.checkpoint and row.checkpoint.key,
        "checkpoint_sha256": None,
        "files_key": None,
        "host": f"node-{row.cell['seed']}",
        "attempt": 1,
        "started_at": "2026-01-01T00:00:00+00:00",
        "finished_at": "2026-01-01T00:00:02+00:00",
        "git_commit": None,
        "ray_version": "2",
        "schema_version": rows.SCHEMA_VERSION,
        "sweeps_version": None,
        "code": None,
    }
    measured = {"kept": float(row.cell["ratio"]) / 7, "pretrain_s": 4.0, "score_s": 1.0}
    return {**row.cell, **measured, **provenance}


if __name__ == "__main__":
    main()
