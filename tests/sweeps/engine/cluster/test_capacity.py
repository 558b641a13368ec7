"""How much of a sweep a cluster holds: node by node, and whether others will come."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private import worker

from sweeps.engine import cluster
from sweeps.engine.cluster import capacity
from sweeps.errors import ClusterError
from tests.support import processes
from tests.support.command_line import Sweeps, assert_refused


def node(alive: bool = True, **resources: float) -> dict[str, Any]:
    own = {name.replace("__", ":"): amount for name, amount in resources.items()}
    return {"Alive": alive, "Resources": {"node:10.0.0.1": 1.0, "memory": 1e9, "object_store_memory": 1e9, **own}}


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three nodes that are there, of two sorts, and one that is gone."""
    found = [node(CPU=4, GPU=2), node(CPU=4, GPU=2), node(CPU=6), node(alive=False, CPU=64, GPU=8)]
    monkeypatch.setattr(ray, "nodes", lambda: found)


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize(
    ("held", "places"),
    [
        ({"CPU": 1.0, "GPU": 1.0}, 4),
        ({"CPU": 3.0}, 4),  # the sum of 14 CPUs would hold 4 and two left over
        ({"CPU": 5.0}, 1),
        ({"CPU": 7.0}, 0),  # though there are 14
        ({"CPU": 1.0, "GPU": 0.1}, 8),
        ({"CPU": 0.0, "GPU": 0.1}, 40),
        ({"CPU": 1.0, "GPU": 1.0, "accelerator_type:H100": 0.001}, 0),
    ],
)
def test_a_trial_has_its_place_on_one_node(held: dict[str, float], places: int) -> None:
    assert cluster.slots(held) == places


@pytest.mark.usefixtures("nodes")
def test_the_largest_node_is_the_one_that_comes_closest() -> None:
    assert cluster.largest_node() == {"CPU": 4, "GPU": 2}
    assert cluster.largest_node({"CPU": 7}) == {"CPU": 6}
    assert cluster.largest_node({"CPU": 7, "GPU": 1}) == {"CPU": 4, "GPU": 2}


@pytest.mark.usefixtures("nodes")
def test_what_fits_no_node_is_refused_or_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "can_grow", lambda: False)
    assert cluster.check_fits({"CPU": 6.0}) == ""
    with pytest.raises(
        ClusterError, match="a trial holds 7 CPU, expected what one node has at most: the largest has 6"
    ):
        cluster.check_fits({"CPU": 7.0})
    monkeypatch.setattr(capacity, "can_grow", lambda: True)
    said = cluster.check_fits({"CPU": 4.0, "GPU": 1.0, "accelerator_type:H100": 0.001})
    assert said == (
        "a trial holds 4 CPU, 1 GPU, H100, more than any node has now, the largest 4 CPU, 2 GPU: waiting for the "
        "cluster to grow"
    )
    with pytest.raises(ClusterError):
        cluster.check_fits({"CPU": 7.0}, may_wait=False)


class Joined:
    """A node of somebody else's cluster."""

    def is_head(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("told", "grows"),
    [
        (None, False),
        ({"autoscaler_report": None}, False),
        ({"autoscaler_report": {"node_type_mapping": {"ab12": "node_ab12"}}}, False),
        ({"autoscaler_report": {"node_type_mapping": {"10.0.0.1": "headgroup"}}}, True),
    ],
)
def test_a_cluster_can_grow_whose_nodes_have_types(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, Any] | None, grows: bool
) -> None:
    monkeypatch.setattr(worker, "_global_node", Joined())
    monkeypatch.setattr(capacity, "is_autoscaler_v2", lambda **_: False)
    monkeypatch.setattr(capacity, "GROWTH_TOLD_S", 0.0)
    monkeypatch.setattr(capacity, "_internal_kv_get", lambda _: None if told is None else json.dumps(told).encode())
    monkeypatch.delenv("TUNE_MAX_PENDING_TRIALS_PG", raising=False)
    assert capacity.can_grow() == grows
    cluster.let_pend(300)
    assert os.environ["TUNE_MAX_PENDING_TRIALS_PG"] == ("300" if grows else str(capacity.PENDING_TRIALS))
    # A later run in the same process may have less to do; what a user has set stays.
    cluster.let_pend(7)
    assert os.environ["TUNE_MAX_PENDING_TRIALS_PG"] == ("7" if grows else str(capacity.PENDING_TRIALS))
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "55")
    cluster.let_pend(300)
    assert os.environ["TUNE_MAX_PENDING_TRIALS_PG"] == "55"


@pytest.mark.parametrize(
    ("address", "environment"),
    [("ray://10.0.0.1:10001", None), ("auto", "ray://10.0.0.1:10001")],
    ids=["option", "environment"],
)
def test_ray_client_is_refused_with_the_way_that_works(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch, address: str, environment: str | None
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    if environment is not None:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    Path("toy.yaml").write_text(TOY)
    ran = sweeps("run", "toy.yaml", "--address", address)
    said = ran._replace(output="")
    assert_refused(said, "--address ray://10.0.0.1:10001: found an address of Ray Client", "ray job submit")


TOY = """
name: toy
study: tests.toy_study:ToyStudy
grid:
  shape: [round]
  method: [quick]
  seed: [0]
  dose: [0]
"""

GROWING: dict[str, Any] = {
    "cluster_name": "growing",
    "max_workers": 2,
    "provider": {"type": "fake_multinode"},
    "auth": {},
    "docker": {},
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
        "large": {"resources": {"CPU": 4, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    },
    "file_mounts": {},
    **{
        name: []
        for name in (
            "cluster_synced_files",
            "rsync_exclude",
            "rsync_filter",
            "initialization_commands",
            "setup_commands",
            "head_setup_commands",
            "worker_setup_commands",
            "head_start_ray_commands",
            "worker_start_ray_commands",
        )
    },
}

ASK = """
import sys
from sweeps.engine import cluster
from sweeps.engine.cluster import capacity
from sweeps.engine.cluster import capacity
with cluster.connected(sys.argv[1]):
    print(capacity.can_grow(), cluster.slots({"CPU": 1}), cluster.largest_node())
"""


@contextlib.contextmanager
def started(folder: Path, *options: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A head that `ray start` has started; yield its address, and the environment of a client."""
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(2)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "1" * 64}
    environment |= {"HOME": str(folder), "PYTHONPATH": str(processes.ROOT), "RAY_FAKE_CLUSTER": "1"}
    log = folder / "log"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=1"]
    command += ["--num-gpus=0", f"--port={ports[0]}", "--include-dashboard=false", f"--temp-dir={folder}/ray"]
    command += [f"--dashboard-agent-listen-port={ports[1]}", *options]
    with log.open("wb") as output:
        head = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=folder)
    try:
        processes.wait_until(lambda: b"Ray runtime started" in log.read_bytes(), "the head to start")
        yield f"127.0.0.1:{ports[0]}", environment
    finally:
        members = [head.pid, *processes.descendants(head.pid)]
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        head.wait()


@pytest.mark.slow
@pytest.mark.parametrize("growing", [False, True])
def test_an_autoscaler_is_told_from_the_monitor_that_every_cluster_has(growing: bool) -> None:
    # Ray's sockets lie in it, and the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "growing.json").write_text(json.dumps(GROWING))
        options = [f"--autoscaling-config={folder}/growing.json"] if growing else []
        with started(folder, *options) as (address, environment):
            command = [sys.executable, "-c", ASK, address]
            said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert said.stdout.splitlines()[-1] == f"{growing} 1 {{'CPU': 1.0}}"
