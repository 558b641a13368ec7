"""The axes that every study of pruning has, and where the entries are found that they name."""

from __future__ import annotations

from typing import Any

from robustprune.methods import INITIALIZERS
from robustprune.plugins import Registry
from robustprune.structures import SCOPES, STRUCTURES
from robustprune.structures.kinds import n_of_m
from sweeps.study import Axis, Further

# With the names of plug-ins that cannot be used: `PruningStudy.check_methods` tells why, where a grid has one.
STRUCTURE = Axis(
    "structure",
    str,
    choices=(*STRUCTURES, *STRUCTURES.broken),
    meaning="what is pruned together",
    further=Further('{n_of_m: "N:M"}', n_of_m.read),
)
INITIALIZER = Axis(
    "initializer", str, choices=(*INITIALIZERS, *INITIALIZERS.broken), meaning="the method that scores weights"
)
SCOPE = Axis("scope", str, choices=SCOPES, meaning="the same ratio in every layer, or one ranking of all")
SEED = Axis("seed", int, bounds=(0, 2**31 - 1), meaning="of random numbers; its values repeat the experiment")
RATIO = Axis("ratio", float, bounds=(0.0, 1.0), meaning="fraction that is pruned; 0: nothing")


def initializer_entry(name: str) -> tuple[Registry[Any], str]:
    """Return where an initializer is found, for `plugins.identities`."""
    return INITIALIZERS, name


def structure_entry(name: str) -> tuple[Registry[Any], str]:
    """Return where a structure is found, for `plugins.identities`."""
    return STRUCTURES, name
