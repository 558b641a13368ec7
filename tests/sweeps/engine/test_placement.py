"""What a trial holds on a cluster: a GPU where there are any, shared by as many rows as asked for, and idle ones."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from sweeps import load_results, running, spec
from sweeps.engine import cluster, driver
from sweeps.engine.job import job_of
from sweeps.engine.progress.live import Live
from sweeps.errors import ClusterError
from sweeps.storage import Store
from sweeps.storage.leases import Leases
from tests.support import toy_study

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_ray")]

ONE_TRIAL = ("grid.shape=[round]", "grid.method=[quick]", "grid.seed=[0]")
SIX, FOUR = "grid.dose=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]", "grid.dose=[0.1, 0.2, 0.3, 0.4]"
BASELINE = 1


def execute(folder: Path, *changes: str, gpus: int, max_concurrent: int | None = None) -> Live:
    """Run the toy sweep in this process, on a Ray with logical GPUs."""
    diary = folder / "diary"
    diary.mkdir()
    loaded, store = spec.parse(toy_study.SPEC, "toy", [*changes, f"diary={diary}"]), Store(str(folder / "runs"))
    console = Console(quiet=True)
    plan = running.prepare(loaded, store, console)
    store.write_spec(loaded.name, loaded.to_yaml())
    connected = cluster.connected(None, num_cpus=4, num_gpus=gpus)
    with Leases(store.files, loaded.name) as leases, connected, Live(plan, console) as live:
        driver.execute(
            job_of(loaded, store), plan, leases, live, resources=loaded.engine.resources, max_concurrent=max_concurrent
        )
    return live


def rows(folder: Path) -> pd.DataFrame:
    found = load_results(str(folder / "runs" / "toy"))
    return found[found["method"] != "none"]


def tries(folder: Path) -> int:
    """How often a row of the grid was begun."""
    return len([entry for entry in (folder / "diary").iterdir() if entry.name.startswith("evaluate_row round")])


def test_every_row_has_one_gpu_where_there_are_gpus(tmp_path: Path) -> None:
    execute(tmp_path, gpus=2)
    assert len(rows(tmp_path)) == toy_study.ROWS - BASELINE
    assert set(rows(tmp_path)["machine"]) <= {"0", "1"}


def test_a_trial_too_large_for_the_cluster_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"resources: a trial holds 64 CPU"):
        execute(tmp_path, "resources.cpus=64", gpus=0)


def test_idle_gpus_help_the_last_trial(tmp_path: Path) -> None:
    execute(tmp_path, *ONE_TRIAL, SIX, "meet_in=evaluate_row round", gpus=2)
    assert len(rows(tmp_path)) == tries(tmp_path) == 6
    assert set(rows(tmp_path)["machine"]) == {"0", "1"}


def test_the_place_of_a_trial_that_ended_helps_the_last_one(tmp_path: Path) -> None:
    # Two trials side by side, then the third; Tune would hold the other place for a fourth.
    last = "meet_in=evaluate_row round quick 2"
    execute(tmp_path, *ONE_TRIAL, "grid.seed=[0, 1, 2]", SIX, last, gpus=2)
    found = rows(tmp_path)
    assert len(found) == tries(tmp_path) == 18
    assert found.groupby("seed")["machine"].nunique()[2] == 2


def test_nobody_helps_where_the_user_limits_the_trials_at_a_time(tmp_path: Path) -> None:
    execute(tmp_path, *ONE_TRIAL, SIX, "seconds=0.5", gpus=2, max_concurrent=1)
    assert len(rows(tmp_path)) == 6
    assert len(set(rows(tmp_path)["machine"])) == 1


def test_rows_that_share_a_gpu_and_lack_memory_run_again_alone(tmp_path: Path) -> None:
    live = execute(
        tmp_path, *ONE_TRIAL, FOUR, "seconds=2.0", "resources.workers_per_gpu=2", "crowded_in=evaluate_row", gpus=1
    )
    assert len(rows(tmp_path)) == 4
    assert tries(tmp_path) > 4, "rows never shared the GPU"
    assert not live.failures


def test_a_row_that_lacks_memory_even_alone_fails_with_its_cause(tmp_path: Path) -> None:
    live = execute(tmp_path, *ONE_TRIAL, FOUR, "crowded_in=evaluate_row round quick 0 0.3", "room=0", gpus=1)
    assert live.failures == {"MemoryError: 1 stages run, and the device has room for 0": 1}
    assert len(rows(tmp_path)) == 3
    assert tries(tmp_path) == 4 + 1
