"""A bundled spec run from an empty storage."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import pandas as pd

from sweeps import load_results


class Finished(NamedTuple):
    """How long a sweep took, its rows, and the keys of its checkpoints."""

    seconds: float
    rows: pd.DataFrame
    checkpoints: list[str]


def run(name: str) -> Finished:
    """Run `sweeps run NAME` in a storage of its own, which is gone after; what it prints goes to standard error."""
    with tempfile.TemporaryDirectory(prefix=f"sweeps-{name}-") as storage:
        start = time.perf_counter()
        command = [sys.executable, "-m", "sweeps", "run", name, "--storage", storage]
        subprocess.run(command, check=True, stdout=sys.stderr)
        seconds = time.perf_counter() - start
        return Finished(seconds, load_results(f"{storage}/{name}"), os.listdir(f"{storage}/checkpoints"))
