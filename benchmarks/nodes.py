"""A Ray cluster of several nodes on this machine, and whom one can kill in it. What is run there is told elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from types import TracebackType

from ray._common.network_utils import node_ip_address_from_perspective  # type: ignore[attr-defined]
from ray._private.node import Node
from ray.cluster_utils import Cluster

from sweeps.engine.cluster import set_environment
from tests.support import processes


class Nodes:
    """A head that computes nothing, and nodes that do; from entering this context to leaving it.

    Only the main thread may add nodes: Ray sets signal handlers.
    """

    def __init__(self, count: int, *, slots: int) -> None:
        """Take how many nodes compute, and how many trials each of them holds."""
        self._count, self._slots = count, slots

    def __enter__(self) -> Nodes:
        """Start the head, then the nodes."""
        set_environment(None)
        # Ray's sockets lie in it, and the path of a socket has at most 107 characters.
        self._folder = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)
        # This process may be connected to a private Ray, whose address nobody else reaches.
        self._address = node_ip_address_from_perspective()
        head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": self._folder.name}
        head["node_ip_address"] = self._address
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(self._count):
            self.add()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process of the cluster."""
        members = [pid for node in self._cluster.list_all_nodes() for pid in _members(node)]
        self._cluster.shutdown()
        kill(*members)
        self._folder.cleanup()

    @property
    def address(self) -> str:
        """What `sweeps run --address` takes."""
        return str(self._cluster.address)

    @property
    def gcs(self) -> int:
        """The process that knows who belongs to the cluster."""
        head: Node = self._cluster.head_node  # type: ignore[assignment]  # Ray's annotation is that of its beginning
        (info,) = head.all_processes["gcs_server"]
        return int(info.process.pid)

    @property
    def computing(self) -> list[Node]:
        """The nodes that compute, in a stable order."""
        return sorted(self._cluster.worker_nodes, key=lambda node: str(node.unique_id))

    def add(self) -> None:
        """Add a node."""
        self._cluster.add_node(num_cpus=self._slots, num_gpus=self._slots, node_ip_address=self._address)

    def remove(self, node: Node) -> None:
        """End a node as when its machine loses power: all its processes at once, and none has time for a last word."""
        members = _members(node)
        kill(*members)
        self._cluster.remove_node(node, allow_graceful=False)

    def trials(self, node: Node | None = None) -> list[int]:
        """Return the processes of trials, on one node or on all."""
        return self._named("ray::ImplicitFunc", node)

    def workers(self, node: Node | None = None) -> list[int]:
        """Return the processes that compute a stage or row at this moment, on one node or on all."""
        return self._named("ray::Worker.compute_", node)

    def _named(self, beginning: str, node: Node | None) -> list[int]:
        nodes = self.computing if node is None else [node]
        return [pid for each in nodes for pid in _members(each) if processes.command(pid).startswith(beginning)]


def kill(*pids: int) -> None:
    """SIGKILL processes, and wait until they are gone; it is no error if some are already."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    processes.wait_until(lambda: not any(map(processes.alive, pids)), "killed processes to end")


def _members(node: Node) -> list[int]:
    started = [info.process.pid for infos in node.all_processes.values() for info in infos]
    return [pid for each in started for pid in (each, *processes.descendants(each))]
