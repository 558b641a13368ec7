"""How much of a sweep the connected Ray holds, node by node, and whether other nodes will come."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping

import ray
from ray._private import ray_constants, worker
from ray.autoscaler.v2.sdk import get_cluster_resource_state
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.experimental.internal_kv import _internal_kv_get

from sweeps.errors import ClusterError

PENDING_TRIALS = 4
"""Trials that queue for a place at a cluster that cannot grow; few, since those queued first are not always those best
begun next."""

GROWTH_TOLD_S = 6.0
"""Within which a cluster that has just started tells what its nodes are; Ray looks at them every 5 seconds."""

_PENDING = "TUNE_MAX_PENDING_TRIALS_PG"
_UNCOUNTED = ("memory", "object_store_memory")


def has_gpus() -> bool:
    """Say whether any node of the cluster has a GPU."""
    return bool(ray.cluster_resources().get("GPU", 0) > 0)


def slots(resources: Mapping[str, float]) -> int:
    """Return how many trials of these resources the cluster can run at a time, each of them on one node."""
    return sum(_places(node, resources) for node in _nodes())


def largest_node(resources: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return what the largest node has, of what is counted: CPUs, GPUs, kinds of accelerators; empty without nodes.

    Args:
        resources: of a trial, which the largest node comes closest to hold; by default that with the most GPUs, and of
            these with the most CPUs.
    """

    def size(node: Mapping[str, float]) -> tuple[float, ...]:
        shares = [min(1.0, node.get(name, 0) / amount) for name, amount in (resources or {}).items()]
        return (sum(shares), node.get("GPU", 0), node.get("CPU", 0))

    return max(_nodes(), key=size, default={})


def check_fits(resources: Mapping[str, float], *, may_wait: bool = True) -> str:
    """See that a node can hold a trial; return a sentence where none can now and the sweep waits for one, else nothing.

    Args:
        resources: of a trial.
        may_wait: for nodes of a cluster that can grow.

    Raises:
        ClusterError: no node can, and none will come.
    """
    if slots(resources) >= 1:
        return ""
    held, largest = _told(resources), _told(largest_node(resources)) or "nothing"
    if may_wait and can_grow():
        return (
            f"a trial holds {held}, more than any node has now, the largest {largest}: waiting for the cluster to grow"
        )
    raise ClusterError(
        f"resources: a trial holds {held}, expected what one node has at most: the largest has {largest}, "
        "and this Ray starts no others"
    )


def can_grow() -> bool:
    """Say whether an autoscaler can start nodes: of `ray up`, of KubeRay, or one that `ray start` was told of.

    Ray's monitor runs in every cluster. Where it starts no nodes, it calls each by its id, and else by a type.
    """
    if worker._global_node is None or worker._global_node.is_head():
        return False  # a Ray that this process has started
    if is_autoscaler_v2(fetch_from_server=True):
        state = get_cluster_resource_state(worker.global_worker.gcs_client)
        return any(node.ray_node_type_name for node in state.node_states)
    deadline = time.monotonic() + GROWTH_TOLD_S
    types = _types_of_nodes()
    while types is None and time.monotonic() < deadline:
        time.sleep(0.2)
        types = _types_of_nodes()
    return any(kind != f"node_{node}" for node, kind in (types or {}).items())


def let_pend(trials: int) -> None:
    """Let as many trials queue for a place as a cluster may grow for. Tune reads it when it starts to run trials.

    Args:
        trials: that there are to run; few queue where the cluster cannot grow. What the user has set stays.
    """
    if worker._global_node is not None and not worker._global_node.is_head():
        limit_pending(max(trials, 1) if can_grow() else PENDING_TRIALS)


_pending_by_us: set[str] = set()


def limit_pending(trials: int) -> None:
    """Let at most so many trials queue for a place, unless the user has said how many."""
    value = os.environ.get(_PENDING)
    if value is None or value in _pending_by_us:
        os.environ[_PENDING] = str(trials)
        _pending_by_us.add(str(trials))


def _types_of_nodes() -> dict[str, str] | None:
    """Return the type of each node as the monitor calls it; None where it has not told yet."""
    status = _internal_kv_get(ray_constants.DEBUG_AUTOSCALING_STATUS)
    report = json.loads(status).get("autoscaler_report") if status else None
    return None if report is None else (report.get("node_type_mapping") or None)


def _nodes() -> list[dict[str, float]]:
    """Return what each node has that is there, of what is counted."""
    return [
        {
            name: amount
            for name, amount in node["Resources"].items()
            if name not in _UNCOUNTED and not name.startswith("node:")
        }
        for node in ray.nodes()
        if node["Alive"]
    ]


def _places(node: Mapping[str, float], resources: Mapping[str, float]) -> int:
    # Fractions of a GPU do not divide evenly in binary.
    return min(int(node.get(name, 0) / amount + 1e-6) for name, amount in resources.items() if amount)


def _told(resources: Mapping[str, float]) -> str:
    """`4 CPU, 1 GPU, H100`."""
    kind = "accelerator_type:"
    return ", ".join(
        name.removeprefix(kind) if name.startswith(kind) else f"{amount:g} {name}" for name, amount in resources.items()
    )
