"""Shared results in the object store of each node, once, however many trials there read them.

A trial that loads a checkpoint for itself would put it there once more, and download it once more. The shelf of a node
is an actor of the driver's: what it has put outlives the trials, and goes when the driver goes.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict, defaultdict
from typing import Any

import ray
from ray.exceptions import RayError
from ray.tune import Callback
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.storage import Store
from sweeps.study import Checkpoint

SHARE_OF_STORE = 0.3
"""Of a node's object store, what its shelf may hold of results that no trial reads any more."""

LOOK_EVERY_S = 5.0
"""Seconds between looks for new nodes."""

AT_A_TIME = 8
"""Requests that a shelf serves at a time: one that downloads does not hold up the others."""


class Shelf:
    """The results of one node. Those that were taken last stay; what trials still read stays without it."""

    def __init__(self, storage: str, most_bytes: float) -> None:
        """Hold nothing yet."""
        self._store, self._most_bytes = Store(storage), most_bytes
        self._refs: OrderedDict[str, tuple[ray.ObjectRef[Any], int]] = OrderedDict()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def take(self, key: str) -> list[ray.ObjectRef[Any]]:
        """Return where a published result lies, in a list, so that it does not travel; empty if there is none."""
        with self._lock:
            lock = self._locks[key]
        with lock:
            if key not in self._refs:
                found = self._store.load_checkpoint(key)
                if found is None:
                    return []
                self._put(key, found)
            with self._lock:
                self._refs.move_to_end(key)
                return [self._refs[key][0]]

    def keep(self, key: str, result: Checkpoint) -> list[ray.ObjectRef[Any]]:
        """Take a result that was computed and published on this node; return where it lies from now on."""
        self._put(key, result)
        return [self._refs[key][0]]

    def drop(self, key: str) -> None:
        """Forget a result that is computed again."""
        with self._lock:
            self._refs.pop(key, None)

    def _put(self, key: str, result: Checkpoint) -> None:
        size = sum(array.nbytes for array in result.values())
        ref = ray.put(dict(result))
        with self._lock:
            self._refs[key] = ref, size
            while len(self._refs) > 1 and sum(size for _, size in self._refs.values()) > self._most_bytes:
                self._refs.popitem(last=False)


class Shelves(Callback):
    """Sets a shelf up on every node of the cluster, also on those that join later."""

    def __init__(self, storage: str) -> None:
        """Set them up."""
        self.run = uuid.uuid4().hex
        """What tells these shelves from those of other drivers."""
        self._storage = storage
        self._shelves: dict[str, Any] = {}
        self._looked = 0.0
        self._look()

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to pickle: Tune keeps its callbacks for a restore that we do not use."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look for new nodes now and then."""
        if time.monotonic() - self._looked > LOOK_EVERY_S:
            self._look()

    def close(self) -> None:
        """End them, which on a Ray that stays would hold their processes."""
        for shelf in self._shelves.values():
            ray.kill(shelf)

    def _look(self) -> None:
        self._looked = time.monotonic()
        for node in ray.nodes():
            if node["Alive"] and node["NodeID"] not in self._shelves and node["Resources"].get("CPU", 0) > 0:
                most = SHARE_OF_STORE * node["Resources"].get("object_store_memory", 0)
                options = {
                    "name": _name(self.run, node["NodeID"]),
                    "num_cpus": 0,
                    "max_concurrency": AT_A_TIME,
                    "scheduling_strategy": NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
                }
                self._shelves[node["NodeID"]] = ray.remote(Shelf).options(**options).remote(self._storage, most)


def shelf_of(run: str, node: str) -> Any:
    """Return the handle of a node's shelf; None where there is none (yet): a trial can do without."""
    try:
        return ray.get_actor(_name(run, node))
    except (ValueError, RayError):
        return None


def _name(run: str, node: str) -> str:
    return f"shelf-{run}-{node}"
