"""What a trial asks about the nodes of its cluster."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import ray
from ray._private import state

NODE_LABEL = "ray.io/node-id"
"""The label by which Ray tells nodes apart."""


def others_can_hold(resources: Mapping[str, float], node: str) -> bool:
    """Say whether another node than `node` is large enough for these resources, busy or not."""
    return another(resources, node) is not None


def another(resources: Mapping[str, float], node: str) -> str | None:
    """Return a node other than `node` that can hold these resources, one with room now if there is any."""
    fitting = [
        each["NodeID"]
        for each in ray.nodes()
        if each["Alive"] and each["NodeID"] != node and _fits(resources, each["Resources"])
    ]
    free = state.available_resources_per_node()
    return min(fitting, key=lambda other: not _fits(resources, free.get(other, {})), default=None)


def room_now(resources: Mapping[str, float], avoid: Collection[str] = ()) -> bool:
    """Say whether a node, none of those to avoid, has these resources free at this moment."""
    free = state.available_resources_per_node()
    return any(node not in avoid and _fits(resources, there) for node, there in free.items())


def _fits(resources: Mapping[str, float], there: Mapping[str, Any]) -> bool:
    return all(there.get(name, 0) >= amount for name, amount in resources.items())
