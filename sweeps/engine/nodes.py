"""What a trial asks about the nodes of its cluster."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import ray
from ray._private import state

NODE_LABEL = "ray.io/node-id"
"""The label by which Ray tells nodes apart."""


def others_can_hold(resources: Mapping[str, float], avoided: Collection[str]) -> bool:
    """Say whether a node that is not to be avoided is large enough for these resources, busy or not."""
    return any(
        each["NodeID"] not in avoided and _fits(resources, each["Resources"]) for each in ray.nodes() if each["Alive"]
    )


def at(address: str | None) -> tuple[str, str] | None:
    """Return the node at an IP address, by Ray's id and its name; None where that is not one node of those alive."""
    there = [each for each in ray.nodes() if each["Alive"] and each["NodeManagerAddress"] == address]
    return (there[0]["NodeID"], there[0]["NodeManagerHostname"]) if len(there) == 1 else None


def all_but(avoided: Collection[str]) -> dict[str, str]:
    """Return Ray's selector of the nodes that are not to be avoided."""
    return {NODE_LABEL: f"!in({','.join(sorted(avoided))})"}


def room_now(resources: Mapping[str, float], avoid: Collection[str] = ()) -> bool:
    """Say whether a node, none of those to avoid, has these resources free at this moment."""
    free = state.available_resources_per_node()
    return any(node not in avoid and _fits(resources, there) for node, there in free.items())


def _fits(resources: Mapping[str, float], there: Mapping[str, Any]) -> bool:
    return all(there.get(name, 0) >= amount for name, amount in resources.items())
