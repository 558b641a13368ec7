"""A real Slurm of two nodes on this machine: what `cluster/slurm` asks of it, and what becomes of it."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sweeps import load_results
from tests.support import processes

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel")
SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
MISSING = [program for program in PROGRAMS if not shutil.which(program, path=SBIN)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

NODES = ("node-a", "node-b")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=node-a NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000
NodeName=node-b NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
SPEC = """\
name: toy
study: tests.toy_study:ToyStudy
grid: {shape: [round, flat], method: [slow], seed: [0, 1], dose: [0, 1]}
seconds: 0.5
"""
ROWS = 9  # 4 trials of 2 rows, and a baseline

ASKED = ["--gpus-per-node=0", "--cpus-per-task=1", "--mem=1G", "--time=10"]


class Slurm(NamedTuple):
    """A running Slurm, and a user's folder from which jobs are submitted."""

    folder: Path
    environment: dict[str, str]

    def call(self, *command: str) -> str:
        ended = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=processes.PATIENCE_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout.strip()

    def submit(self, script: str, *options: str) -> str:
        """Submit a script with the toy study, and return the job's number."""
        path = processes.ROOT / "cluster" / "slurm" / script
        return self.call("sbatch", "--parsable", *ASKED, *options, str(path), "toy.yaml")

    def wait(self, job: str) -> None:
        """Wait until a job has ended, all of its tasks with status 0."""
        processes.wait_until(lambda: not self.call("squeue", "--noheader"), f"job {job} to end")
        statuses = re.findall(r"ExitCode=(\S+)", self.call("scontrol", "show", "job", job))
        assert set(statuses) == {"0:0"}, statuses

    def log(self, job: str) -> str:
        path = self.folder / f"sweeps-{job}.log"
        return path.read_text() if path.exists() else ""

    @property
    def rows(self) -> dict[str, int]:
        """When each published row was written."""
        return {file.name: file.stat().st_mtime_ns for file in self.folder.glob("runs/toy/results/*.parquet")}


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # as munge wants it
        started: list[subprocess.Popen[bytes]] = []
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))}
        programs = str(Path(sys.executable).parent)
        environment |= {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": os.pathsep.join([programs, SBIN]),
            "PYTHONPATH": str(processes.ROOT),
        }

        def start(*command: str) -> None:
            with (folder / f"{Path(command[0]).name}.out").open("ab") as output:
                started.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=folder))

        try:
            (folder / "munge").mkdir(mode=0o755)
            key = folder / "munge" / "key"
            key.touch(mode=0o600)
            key.write_bytes(os.urandom(64))
            files = [f"--{option}={folder}/munge/{option[:3]}" for option in ("pid-file", "log-file", "seed-file")]
            start("munged", "--foreground", f"--socket={folder}/munge/socket", f"--key-file={key}", *files)
            processes.wait_until((folder / "munge" / "socket").exists, "munge to start")
            with contextlib.ExitStack() as stack:
                sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in range(3)]
                ports = [each.getsockname()[1] for each in sockets]
            host = socket.gethostname().partition(".")[0]
            text = CONFIGURATION.format(host=host, ports=ports, user=getpass.getuser(), folder=folder)
            (folder / "slurm.conf").write_text(text)
            (folder / "state").mkdir()
            start("slurmctld", "-D")
            for node in NODES:
                start("slurmd", "-D", "-N", node)
            made = Slurm(folder, environment)

            def is_up() -> bool:
                command = ["sinfo", "--noheader", "--states=idle", "--format=%D"]
                return subprocess.run(command, env=environment, capture_output=True, check=False).stdout.strip() == b"2"

            processes.wait_until(is_up, "two nodes of Slurm to be idle")
            (folder / "diary").mkdir()
            (folder / "toy.yaml").write_text(f"{SPEC}diary: {folder}/diary\n")
            yield made
            made.call("scancel", "--user", getpass.getuser())
            processes.wait_until(lambda: not made.call("squeue", "--noheader"), "jobs to end")
        finally:
            members = [pid for each in started for pid in (each.pid, *processes.descendants(each.pid))]
            for each in started:
                each.kill()
                each.wait()
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)


def test_a_job_whose_time_is_up_goes_back_into_the_queue_and_the_same_command_finishes_it(slurm: Slurm) -> None:
    folders = "ray-??????"  # as the script calls them; those of other sweeps have longer names
    before = {path.name for path in Path("/tmp").glob(folders)}
    job = slurm.submit("sweep.sbatch", "--nodes=2")
    processes.wait_until(lambda: len(slurm.rows) >= 1, "a row")
    # As Slurm does two minutes before the time is up.
    slurm.call("scancel", "--batch", "--signal=USR1", job)
    processes.wait_until(lambda: "back in the queue" in slurm.log(job), "the job to be requeued")
    assert "Interrupted. Finished rows are published; the same command resumes." in slurm.log(job)
    processes.wait_until(lambda: slurm.call("squeue", "--noheader", "--format=%T") == "PENDING", "the job to queue")
    slurm.call("scancel", job)
    finished = slurm.rows
    assert len(finished) < ROWS, "the job was interrupted too late for this test to show anything"

    again = slurm.submit("sweep.sbatch", "--nodes=2")
    slurm.wait(again)
    log = slurm.log(again)
    assert finished.items() <= slurm.rows.items(), "a finished row was computed again"
    assert len(load_results(str(slurm.folder / "runs" / "toy"))) == len(slurm.rows) == ROWS, log
    assert "nodes: node-a node-b" in log
    assert log.rstrip().endswith("runs/toy/results"), "the sweep's own words are not the last"
    assert {path.name for path in Path("/tmp").glob(folders)} <= before
    assert not list(slurm.folder.glob(".sweeps-join-*"))


def test_tasks_of_an_array_share_the_work_without_a_network(slurm: Slurm) -> None:
    array = slurm.submit("array.sbatch", "--array=0-1")
    slurm.wait(array)
    logs = [slurm.log(f"{array}_{task}") for task in range(2)]
    assert all(log.rstrip().endswith("runs/toy/results") for log in logs), logs
    assert len(load_results(str(slurm.folder / "runs" / "toy"))) == ROWS
    computed = [entry.name.rpartition(" ")[0] for entry in (slurm.folder / "diary").iterdir()]
    assert len(computed) == len(set(computed)), "something was computed twice"
