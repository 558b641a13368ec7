"""What a trial holds on a cluster: a GPU where there are any, and nothing while it waits."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from sweeps import load_results, running, spec
from sweeps.engine import cluster, driver
from sweeps.engine.job import job_of
from sweeps.engine.live import Live
from sweeps.errors import ClusterError
from sweeps.storage import Store
from sweeps.storage.leases import Leases
from tests import toy_study

pytestmark = pytest.mark.slow


def execute(folder: Path, *changes: str, gpus: int) -> None:
    """Run the toy sweep in this process, on a Ray with logical GPUs."""
    loaded, store = spec.parse(toy_study.SPEC, "toy", [*changes, f"diary={folder}"]), Store(str(folder / "runs"))
    plan = running.prepare(loaded, store)
    store.write_spec(loaded.name, loaded.to_yaml())
    connected = cluster.connected(None, num_cpus=2, num_gpus=gpus)
    with Leases(store.files, loaded.name) as leases, connected, Live(plan, Console(quiet=True)) as live:
        driver.execute(job_of(loaded, store), plan, leases, live, resources=loaded.engine.resources)


def test_every_row_has_one_gpu_where_there_are_gpus(tmp_path: Path) -> None:
    execute(tmp_path, gpus=2)
    rows = load_results(str(tmp_path / "runs" / "toy"))
    assert len(rows) == toy_study.ROWS, rows
    assert set(rows["machine"]) <= {"0", "1"}


def test_a_trial_too_large_for_the_cluster_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"resources: a trial holds .*'CPU': 64"):
        execute(tmp_path, "resources.cpus=64", gpus=0)
