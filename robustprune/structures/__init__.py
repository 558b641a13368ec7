"""What is pruned together: from the scores of weights to masks, and to networks without what was pruned."""

from robustprune.structures.by_name import STRUCTURES, draw_masks
from robustprune.structures.entry import StructureEntry
from robustprune.structures.groups import CoupledGroup, Layer, Members
from robustprune.structures.masks import Masks
from robustprune.structures.ratios import Ratios
from robustprune.structures.scopes import SCOPES, Scope

__all__ = [
    "SCOPES",
    "STRUCTURES",
    "CoupledGroup",
    "Layer",
    "Masks",
    "Members",
    "Ratios",
    "Scope",
    "StructureEntry",
    "draw_masks",
]
