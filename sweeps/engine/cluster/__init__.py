"""A Ray to run on: a private one on this machine, or a cluster to join; and how much of a sweep it holds."""

from sweeps.engine.cluster.capacity import check_fits, has_gpus, largest_node, let_pend, slots
from sweeps.engine.cluster.connection import check_gpus, connected, remarks, set_environment, start_private
from sweeps.engine.cluster.surroundings import settle_home

__all__ = [
    "check_fits",
    "check_gpus",
    "connected",
    "has_gpus",
    "largest_node",
    "let_pend",
    "remarks",
    "set_environment",
    "settle_home",
    "slots",
    "start_private",
]
