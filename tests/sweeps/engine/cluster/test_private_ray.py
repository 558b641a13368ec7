"""Who can use the Ray that a sweep starts: nobody but the sweep."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.engine.cluster import surroundings
from tests.support import processes

SAY = """
import json, os
import ray
from sweeps.engine import cluster
before = {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")}
with cluster.connected(None):
    ray.get(ray.remote(num_cpus=0)(lambda: 1).remote())
    node = ray._private.worker._global_node
    said = {"gcs": node.gcs_address, "cpus": ray.cluster_resources()["CPU"]}
    said |= {"folder": node.temp_dir, "socket": node.plasma_store_socket_name}
    print(json.dumps(said), flush=True)
    input()
after = {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")}
print(json.dumps({"same": before == after}))
"""

INTRUDE = """
import sys
import ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
print("ran as", ray.get(ray.remote(num_cpus=0)(lambda: "somebody").remote(), timeout=30))
"""


def without_tokens(**more: str) -> dict[str, str]:
    """Return the environment of somebody who has no token."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**plain, "HOME": "/nonexistent", "PYTHONPATH": str(processes.ROOT), **more}


def cramped() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def listening(pid: int) -> dict[str, str]:
    """Return the addresses at which a process and those below it listen, and as whom."""
    ours = {pid, *processes.descendants(pid)}
    printed = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in printed.splitlines():
        if {int(each) for each in re.findall(r"pid=(\d+)", line)} & ours:
            found[line.split()[3]] = "".join(re.findall(r'"([^"]+)"', line)[:1])
    return found


def intrude(address: str, **environment: str) -> subprocess.CompletedProcess[str] | None:
    """Run a task on somebody else's Ray; None where that is still trying after a while."""
    command = [sys.executable, "-c", INTRUDE, address]
    try:
        return subprocess.run(
            command, env=without_tokens(**environment), capture_output=True, text=True, timeout=30, check=False
        )
    except subprocess.TimeoutExpired:
        return None


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ss") is None, reason="the test asks the system's tool what listens")
def test_a_private_ray_listens_on_this_machine_alone_and_admits_nobody(tmp_path: Path) -> None:
    # Nor does it need more than it is given: one CPU, few files unless it asks for more, no home, a long path.
    far = tmp_path / ("far" * 30)
    far.mkdir()
    command = [sys.executable, "-c", SAY]
    driver = subprocess.Popen(
        command,
        env=without_tokens(TMPDIR=str(far)),
        preexec_fn=cramped,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert driver.stdout is not None
        said = json.loads(driver.stdout.readline())
        gcs, folder = str(said["gcs"]), Path(said["folder"])
        assert said["cpus"] == 1
        assert len(said["socket"]) - len(said["folder"]) <= surroundings.IN_FOLDER
        assert any(far.iterdir())
        found = listening(driver.pid)
        assert {"gcs_server", "raylet"} <= set(found.values())
        hosts = {address.rpartition(":")[0] for address in found}
        assert hosts <= {"127.0.0.1", "[::ffff:127.0.0.1]", "[::1]"}
        # Nor does anybody on this machine get in who does not know the token, or takes none to be needed.
        wrong: list[dict[str, str]] = [
            {"RAY_AUTH_MODE": "disabled"},
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
        ]
        for environment in wrong:
            ended = intrude(gcs, **environment)
            assert ended is None or (ended.returncode != 0 and "ran as" not in ended.stdout)
        output, _ = driver.communicate("\n", timeout=60)
        assert json.loads(output)["same"]
        assert not folder.exists()
        assert not any(far.iterdir())
    finally:
        members = [driver.pid, *processes.descendants(driver.pid)]
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        driver.wait()


USE_OWN = """
import os, sys
import ray
ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, logging_level="ERROR")
from tests.support.toy_run import ToyRun
from pathlib import Path
ToyRun(Path(sys.argv[1])).run_here()
assert ray.get(ray.remote(lambda: 7).remote()) == 7, "it was left"
print({name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH_TOKEN")})
"""


@pytest.mark.slow
def test_a_process_runs_a_sweep_on_the_ray_that_it_has_started_with_a_token_of_its_own(tmp_path: Path) -> None:
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("7" * 64)
    environment = without_tokens(HOME=str(tmp_path), RAY_AUTH_MODE="token")
    command = [sys.executable, "-c", USE_OWN, str(tmp_path / "toy")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "{}"
