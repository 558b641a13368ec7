"""One private Ray of this process, which tests share that do nothing to it; started when the first one asks."""

from __future__ import annotations

import ray

from sweeps.engine import cluster

CPUS = 4


def connect() -> None:
    """Connect this process, if it is not."""
    if not ray.is_initialized():
        cluster.set_environment(None)
        cluster.start_private(num_cpus=CPUS, num_gpus=0)


def leave() -> None:
    """Leave it, and let it end."""
    if ray.is_initialized():
        ray.shutdown()
