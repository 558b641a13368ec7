"""How many CPUs a private Ray has: those that affinity, control groups and Slurm leave to this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from sweeps.engine.cluster import allotted, connection
from sweeps.errors import ClusterError


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of 64 CPUs without limits; return where the kernel would tell of some."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setattr(allotted, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(allotted, "OWN_CGROUPS", tmp_path / "own")
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(folder: Path, own: str, files: Mapping[str, str]) -> None:
    (folder / "own").write_text(own)
    for name, text in files.items():
        file = folder / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")


@pytest.mark.parametrize(
    ("own", "files", "cpus"),
    [
        ("0::/\n", {"cpu.max": "max 100000"}, 64),
        ("0::/\n", {"cpu.max": "350000 100000"}, 3),
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),  # half a CPU is one that is slow
        ("0::/job/step\n", {"job/step/cpu.max": "max 100000", "job/cpu.max": "800000 100000"}, 8),
        ("0::/docker/7f\n", {"cpu.max": "200000 100000"}, 2),  # a path of the host's, seen from inside a container
        ("3:cpu,cpuacct:/job\n", {"cpu,cpuacct/job/cpu.cfs_quota_us": "400000"}, 64),
        (
            "9:pids:/x\n3:cpu,cpuacct:/job\n0::/\n",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "400000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
            4,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
    ],
)
def test_quotas_of_control_groups(large: Path, own: str, files: Mapping[str, str], cpus: int) -> None:
    write(large, own, files)
    assert allotted.cpus() == cpus


@pytest.mark.parametrize(
    ("environment", "cpus"),
    [
        ({"SLURM_CPUS_PER_TASK": "8", "SLURM_CPUS_ON_NODE": "32"}, 8),
        ({"SLURM_CPUS_ON_NODE": "32"}, 32),
        ({"SLURM_CPUS_PER_TASK": "128"}, 64),
    ],
)
def test_slurm(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], cpus: int) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert allotted.cpus() == cpus


@pytest.mark.parametrize(("visible", "found"), [(None, 2), ([], 0), (["0"], 1)])
def test_no_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch, visible: list[str] | None, found: int) -> None:
    class Manager:
        get_current_node_num_accelerators = staticmethod(lambda: 2)
        get_current_process_visible_accelerator_ids = staticmethod(lambda: visible)

    monkeypatch.setattr(connection, "get_accelerator_manager_for_resource", lambda name: Manager)
    connection.check_gpus(found)
    with pytest.raises(ClusterError, match=f"--gpus {found + 1}: found {found} on this machine"):
        connection.check_gpus(found + 1)
