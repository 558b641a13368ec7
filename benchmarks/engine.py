"""What the engine adds to the work: simulated stages on a private Ray with logical GPUs.

`makespan_over_ideal` compares the time from the first stage's start to the last one's end with the sum of all stages'
time over the GPUs. `overhead_per_ratio_s` is the mean time between two rows of a trial, in which its GPU waits;
`overhead_per_trial_s` is all other time that GPUs wait in that span, while it ramps up and runs out too, over the
trials. How long Ray itself takes to start is not in it. `stages_on_wrong_device` counts stages and rows in a process
that saw another GPU first than the one Ray assigned: CUDA would have computed there.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from ray._private import worker
from rich.console import Console

from benchmarks import simulated_study
from benchmarks.output import parser, write
from sweeps import spec
from sweeps.engine import cluster, driver
from sweeps.engine.job import job_of
from sweeps.engine.progress.live import Live
from sweeps.planning import plan as planning
from sweeps.storage import Store
from sweeps.storage.leases import Leases


def main() -> None:
    """Run the simulated sweep and print its figures."""
    command_line = parser(__doc__)
    command_line.add_argument("--gpus", type=int, default=4, help="logical GPUs")
    command_line.add_argument(
        "--set", dest="changes", action="append", default=[], help="change the simulated spec, as `sweeps run` does"
    )
    arguments = command_line.parse_args()
    write(measure(arguments.gpus, arguments.changes), arguments.format)


def measure(gpus: int, changes: list[str]) -> dict[str, Any]:
    """Return the figures of one simulated sweep."""
    with tempfile.TemporaryDirectory(prefix="sweeps-engine-") as folder:
        diary = Path(folder, "diary")
        diary.mkdir()
        loaded = spec.parse(simulated_study.SPEC, "simulated", [*changes, f"diary={diary}"])
        store = Store(f"{folder}/runs")
        plan = planning.make(loaded, store)
        store.write_spec(loaded.name, loaded.to_yaml())
        with Leases(store.files, loaded.name) as leases, cluster.connected(None, num_cpus=2 * gpus, num_gpus=gpus):
            with Live(plan, Console(stderr=True)) as live:
                driver.execute(job_of(loaded, store), plan, leases, live, resources=loaded.engine.resources)
            assert worker._global_node is not None
            logs = Path(worker._global_node.get_logs_dir_path())
            workers = len(list(logs.glob("worker-*.out")))
            created = _bytes_created(logs)
        stages = pd.DataFrame([json.loads(file.read_text()) for file in diary.iterdir()])
        trials, rows = len(plan.trials), len(store.row_keys(loaded.name))
    work = (stages.end - stages.start).sum()
    makespan = stages.end.max() - stages.start.min()
    per_ratio = _gaps(stages[stages.stage == "ratio"])
    return {
        "makespan_s": makespan,
        "ideal_s": work / gpus,
        "makespan_over_ideal": makespan * gpus / work,
        "overhead_per_trial_s": (makespan * gpus - work - per_ratio.sum()) / trials,
        "overhead_per_ratio_s": per_ratio.mean(),
        "trials": trials,
        "rows": rows,
        "stages_on_wrong_device": int((stages.seen.map(tuple) != stages.assigned.map(tuple)).sum()),
        "pretrainings": int((stages.stage == "pretrain").sum()),
        "object_store_bytes": created,
        "workers_started": workers,
    }


def _bytes_created(logs: Path) -> int:
    """Return all bytes ever put into the object store, by the raylet's own last count (once a minute)."""
    return max(map(int, re.findall(r"num bytes created total: (\d+)", (logs / "raylet.out").read_text())))


def _gaps(ratios: pd.DataFrame) -> pd.Series[float]:
    """Return the seconds between each two rows of a trial; none where helpers run them at the same time."""
    trial = ratios.cell.map(lambda cell: tuple(value for name, value in cell.items() if name != "ratio"))
    ordered = ratios.assign(trial=trial).sort_values("start")
    return (ordered.start - ordered.groupby("trial").end.shift()).dropna().clip(lower=0)


if __name__ == "__main__":
    main()
