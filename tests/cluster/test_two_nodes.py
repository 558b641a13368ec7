"""A real cluster of two nodes on this machine, as in `cluster/`: tokens, a head that only orchestrates, jobs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sweeps import load_results
from tests.support import processes, toy_study

pytestmark = pytest.mark.slow

RAY = [sys.executable, "-m", "ray.scripts.scripts"]
SWEEPS = [sys.executable, "-m", "sweeps"]


class TwoNodes(NamedTuple):
    """A running cluster, and the environment of a client that has its token."""

    head: subprocess.Popen[bytes]
    address: str
    dashboard: str
    environment: dict[str, str]


@pytest.fixture
def folder() -> Iterator[Path]:
    # Ray's sockets lie in it, and the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def cluster(folder: Path) -> Iterator[TwoNodes]:
    port, dashboard, *agents = free_ports(4)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    plain |= {"HOME": str(folder), "PYTHONPATH": str(processes.ROOT), "COLUMNS": "120", "RAY_USAGE_STATS_ENABLED": "0"}
    subprocess.run([*RAY, "get-auth-token", "--generate"], env=plain, capture_output=True, check=True)
    token = folder / ".ray" / "auth_token"
    environment = {**plain, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "HOME": str(folder / "home")}
    address = f"{ip_address()}:{port}"
    nodes: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: str) -> None:
        log = folder / f"{name}.log"
        with log.open("wb") as output:
            command = [*RAY, "start", "--block", *arguments]
            nodes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=folder))
        processes.wait_until(lambda: b"Ray runtime started" in log.read_bytes(), f"the {name} to start")

    try:
        ports = [
            "--port",
            str(port),
            "--dashboard-port",
            str(dashboard),
            "--dashboard-agent-listen-port",
            str(agents[0]),
        ]
        start("head", "--head", "--num-cpus", "0", "--temp-dir", str(folder / "ray"), *ports)
        start("worker", "--address", address, "--num-cpus", "2", "--dashboard-agent-listen-port", str(agents[1]))
        yield TwoNodes(nodes[0], address, f"http://127.0.0.1:{dashboard}", environment)
    finally:
        end(nodes)


@pytest.fixture
def project(folder: Path) -> Path:
    """A user's folder: a spec, and a study that no node of the cluster has."""
    project = folder / "project"
    project.mkdir()
    shutil.copy(toy_study.__file__, project / "my_study.py")
    spec = toy_study.SPEC.replace("tests.toy_study", "my_study")
    (project / "toy.yaml").write_text(f"{spec}seconds: 0.3\n")
    return project


def test_job_killed_on_a_cluster_with_tokens_is_finished_by_the_same_job(
    cluster: TwoNodes, project: Path, folder: Path
) -> None:
    storage = folder / "runs"
    submit = [*RAY, "job", "submit", "--address", cluster.dashboard, "--working-dir", "."]
    job = ["--", *SWEEPS, "run", "toy.yaml", "--address", "auto", "--storage", str(storage)]
    stranger = {name: value for name, value in cluster.environment.items() if not name.startswith("RAY_AUTH")}

    refused = run([*submit, *job], project, stranger)
    assert refused.returncode != 0
    assert "AuthenticationError" in refused.stdout
    for mode in ({"RAY_AUTH_MODE": "token"}, {}):
        refused = run([*SWEEPS, "run", "toy.yaml", "--address", cluster.address], project, stranger | mode)
        assert refused.returncode == 2, refused.stdout
        last = refused.stdout.strip().splitlines()[-1]
        assert last.startswith(f"Error: --address {cluster.address}: found no token that the cluster accepts")
    assert not storage.exists()

    results = storage / "toy" / "results"
    submitted = run([*submit, "--no-wait", *job], project, cluster.environment)
    assert submitted.returncode == 0, submitted.stdout
    processes.wait_until(lambda: len(rows(results)) >= 4, "four rows")
    os.kill(driver_below(cluster.head), signal.SIGKILL)
    finished = rows(results)
    assert len(finished) < toy_study.ROWS, "the driver was killed too late for this test to show anything"

    resumed = run([*submit, *job], project, cluster.environment)
    assert resumed.returncode == 0, resumed.stdout
    assert finished.items() <= rows(results).items(), "a finished row was computed again"
    assert len(load_results(str(storage / "toy"))) == len(rows(results)) == toy_study.ROWS

    token = Path(cluster.environment["RAY_AUTH_TOKEN_PATH"])
    holders = {file for file in folder.rglob("*") if file.is_file() and token.read_bytes() in file.read_bytes()}
    assert holders == {token}, "the token was written into the storage or a log"


def run(command: list[str], cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=processes.PATIENCE_S,
        check=False,
    )


def rows(results: Path) -> dict[str, int]:
    """Return when each published row was written."""
    return {file.name: file.stat().st_mtime_ns for file in results.glob("*.parquet")}


def driver_below(head: subprocess.Popen[bytes]) -> int:
    """Return the process of `sweeps run` that a job started on the head node."""
    for pid in processes.descendants(head.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            command = (Path("/proc") / str(pid) / "cmdline").read_text().split("\0")
            if command[: len(SWEEPS)] == SWEEPS:
                return pid
    raise AssertionError("there is no driver on the head node")


def end(nodes: list[subprocess.Popen[bytes]]) -> None:
    """SIGKILL nodes and everything they started, workers and jobs included."""
    members = [pid for node in nodes for pid in (node.pid, *processes.descendants(node.pid))]
    for pid in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for node in nodes:
        node.wait()
    processes.wait_until(lambda: not any(processes.alive(pid) for pid in members), "the nodes' processes to end")


def ip_address() -> str:
    """Return this machine's address as Ray will know the head by it."""
    from ray.util import get_node_ip_address

    return str(get_node_ip_address())


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]
