"""Structures by name, and the masks that they draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from robustprune.plugins import Registry, check_callable
from robustprune.structures.entry import StructureEntry
from robustprune.structures.filters import CHANNELS, STRUCTURED
from robustprune.structures.groups import CoupledGroup
from robustprune.structures.masks import Masks
from robustprune.structures.scopes import scope_of
from robustprune.structures.unstructured import UNSTRUCTURED

STRUCTURES: Registry[StructureEntry] = Registry(
    "robustprune.structures",
    kind="structure",
    entry=StructureEntry,
    bundled={"unstructured": UNSTRUCTURED, "structured": STRUCTURED, "channels": CHANNELS},
    check=lambda name, entry: check_callable(entry.masks),
)


def draw_masks(
    structure: str,
    importance: Mapping[str, Tensor],
    ratio: float,
    *,
    groups: Sequence[CoupledGroup],
    scope: str,
    comparable: bool,
) -> Masks:
    """Return what a structure keeps, per layer of `importance`; see `StructureEntry` and `scopes`.

    Raises:
        InputError: no such structure.
        ValueError: a score is NaN, or the structure returned no boolean per weight.
    """
    masks = STRUCTURES.lookup(structure).masks(importance, ratio, groups, scope_of(scope, comparable=comparable))
    if masks.keys() != importance.keys():
        first = min(masks.keys() ^ importance.keys())
        raise ValueError(f"structure {structure!r}: found masks of other layers than were scored, such as {first}")
    for layer, mask in masks.items():
        if mask.dtype != torch.bool or mask.shape != importance[layer].shape:
            raise ValueError(
                f"structure {structure!r}: found a mask of {mask.dtype} and shape {tuple(mask.shape)} for {layer}, "
                f"expected booleans of shape {tuple(importance[layer].shape)}"
            )
    return masks
