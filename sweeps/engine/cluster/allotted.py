"""How many CPUs of this machine are this process's to use: fewer than it has, where somebody shares it out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")

_SLURM = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")
"""What a job asked for per task; where it did not, what it has on this node. Not every Slurm binds processes to it."""


def cpus() -> int:
    """Return the least of what affinity, the quotas of cgroups and Slurm allow; at least 1, parts of a CPU left out."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    by_slurm = [int(os.environ[name]) for name in _SLURM if os.environ.get(name, "").isdigit()][:1]
    return max(1, int(min([bound, *by_slurm, *_quotas()])))


def _quotas() -> Iterator[float]:
    """Yield the CPUs that each control group above this process allows, in either version of them."""
    for folder in groups("cpu"):
        if (one := numbers(folder / "cpu.max")) and len(one) == 2:
            yield one[0] / one[1]
        quota, period = numbers(folder / "cpu.cfs_quota_us"), numbers(folder / "cpu.cfs_period_us")
        if quota and period:
            yield quota[0] / period[0]


def groups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups of a controller, from its own up to the root.

    In a container the path that the kernel names may not be there; the root then is the container's own.
    """
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        # Version 2 has one tree of all controllers; version 1 one each, mounted under its name.
        roots = [CGROUPS, CGROUPS / "unified"] if not controllers else [CGROUPS / controllers, CGROUPS / controller]
        if not controllers or controller in controllers.split(","):
            for root in roots:
                own = root / path.lstrip("/")
                yield from (each for each in (own, *own.parents) if each == root or root in each.parents)


def numbers(file: Path) -> list[int]:
    """Return the numbers in a file of the kernel; none where it is not there, or says that there is no limit."""
    try:
        words = file.read_text().split()
    except OSError:
        return []
    return [int(word) for word in words] if words and all(word.isdigit() for word in words) else []
