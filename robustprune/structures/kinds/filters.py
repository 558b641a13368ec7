"""Prune whole filters (output channels), coupled ones together: masked where they are, or removed with all that
depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from robustprune.structures.entry import StructureEntry
from robustprune.structures.group_scores import group_scores
from robustprune.structures.groups import CoupledGroup, filter_masks
from robustprune.structures.masks import Masks
from robustprune.structures.scopes import Scope, across_layers


@torch.no_grad()
def filters(importance: Mapping[str, Tensor], ratio: float, groups: Sequence[CoupledGroup], scope: Scope) -> Masks:
    """Return masks that keep the filters whose weights are the most important on average.

    Arguments are those of `StructureEntry.masks`; `ratio` is a fraction of each group's decisions, and so of each
    layer's filters. At least one decision of a group stays.
    """
    # Only where layers compete as they are do scores of coupled layers add up as they are.
    scores = group_scores(importance, groups, comparable=scope is across_layers)
    kept = filter_masks(groups, scope(scores, ratio), importance)
    return {
        name: kept[name].to(weights.device).view(-1, *[1] * (weights.ndim - 1)).expand(weights.shape).clone()
        for name, weights in importance.items()
    }


STRUCTURED = StructureEntry(masks=filters, coupled=True)
"""Filters keep their place in the network, with weights of zero."""

CHANNELS = StructureEntry(masks=filters, coupled=True, removes=True)
"""Channels leave the network, with everything that depends on them (DepGraph, Fang et al. 2023)."""
