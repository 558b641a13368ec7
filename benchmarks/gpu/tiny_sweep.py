"""A tiny sweep on real devices, in a Ray of its own: two rows at a time share each GPU.

It runs in a process group of its own, from the command line as a user's, so that it can be ended as a whole.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from benchmarks.gpu.figures import Figure, Part, Result

PART = Part("sweep", "", least=60, most=180)
"""Starting Ray, and importing PyTorch in every process, take most of it."""

GRID = (
    "grid.structure=[unstructured]",
    "grid.initializer=[hydra]",
    "grid.colour=[rgb]",
    "grid.seed=[0, 1]",
    "grid.ratio=[0, 0.5, 0.75]",
    "grid.exclude=[]",
)
SHORT = (
    "dataset.train_images=32",
    "dataset.val_images=16",
    "base.epochs=1",
    "pretrain.epochs=1",
    "finetune.epochs=1",
    "initializers.hydra.images=16",
    "initializers.deeplift.images=16",
    "evaluation.timing_repeats=6",
    "evaluation.margin=null",
)
STOPPING = 20.0
"""Seconds in which a sweep that is asked to stop has ended its Ray."""

ROWS = 7
"""Two trials of three, and the baseline."""


def run(device: str, *, seconds: float) -> Result:
    """Run `sweeps run demo`, cut down, for so many seconds at most, and look at its rows."""
    if importlib.util.find_spec("ray") is None:
        return Result(PART.name, "not run", 0.0, cause="Ray is not installed")
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="benchmark-gpu-") as folder:
        storage = f"{folder}/runs"
        changes = [*GRID, *SHORT, "resources.workers_per_gpu=2", f"resources.gpus={0 if device == 'cpu' else 1}"]
        command = [sys.executable, "-m", "sweeps", "run", "demo", "--storage", storage]
        command += [part for change in changes for part in ("--set", change)]
        with Path(folder, "said").open("w+", encoding="utf-8") as said:
            process = subprocess.Popen(
                command, stdout=said, stderr=said, start_new_session=True, env=os.environ | {"NO_COLOR": "1"}
            )
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                return Result(PART.name, "cut short", time.monotonic() - start, cause=f"stopped after {seconds:.0f} s")
            finally:
                _end(process)
            said.seek(0)
            lines = [line.strip() for line in said if line.strip()]
        taken = time.monotonic() - start
        if status != 0:
            cause = f"exit status {status}: {lines[-1] if lines else 'it said nothing'}"
            return Result(PART.name, "failed", taken, cause=cause)
        figures = _of_rows(pd.read_parquet(f"{storage}/demo/results"), device, taken)
    return Result(PART.name, "done", taken, tuple(figures))


def _of_rows(rows: pd.DataFrame, device: str, seconds: float) -> list[Figure]:
    names = ", ".join(sorted(set(rows["accelerator"].dropna())))
    on_gpus = not rows["device"].eq("cpu").any()
    shared = sorted(set(rows["device_shared_by"].dropna().astype(int)))
    marked = bool(rows["timing_doubtful"].fillna(False).astype(bool).all())
    return [
        Figure("rows", len(rows), "", len(rows) == ROWS),
        Figure("computed on", names, "", on_gpus if device != "cpu" else None),
        Figure("rows at a time on a device", str(shared), "", shared == [2] if device != "cpu" else None),
        Figure("times of rows that shared a device are all in doubt", marked, "", marked if shared == [2] else None),
        Figure("from the command to the report", seconds, "s"),
    ]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command, as a user would, if it still runs; and then whatever is left of its process group."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOPPING)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
