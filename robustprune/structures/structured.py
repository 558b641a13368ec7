"""Prune whole filters (output channels), coupled ones together."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from robustprune.detection.darknet.couplings import Group
from robustprune.structures.masks import Masks, keep_count, largest


@torch.no_grad()
def structured(importance: Mapping[str, Tensor], ratio: float, groups: Sequence[Group]) -> Masks:
    """Return masks that keep the filters whose weights are the most important on average.

    Filters of different layers that are decided on together are worth the mean of what each is worth beside the
    others of its layer: its score over the mean magnitude of theirs, so that no layer has more say for its scale.

    Args:
        importance: per layer (out, in, height, width), one score per weight.
        ratio: fraction of each group's decisions, and so of each layer's filters, to prune, in [0, 1]; at least one
            decision of a group stays.
        groups: in which each filter of `importance` occurs once; see `darknet.couplings`.
    """
    filters = {name: scores.mean(dim=(1, 2, 3)) for name, scores in importance.items()}
    kept = {name: torch.zeros_like(scores, dtype=torch.bool) for name, scores in filters.items()}
    for group in groups:
        scores = _scores(filters, group)
        chosen = largest(scores, keep_count(ratio, len(scores)))
        for name, members in group.items():
            kept[name][members] = chosen.unsqueeze(1)
    return {name: kept[name].view(-1, 1, 1, 1).expand(scores.shape).clone() for name, scores in importance.items()}


def _scores(filters: Mapping[str, Tensor], group: Group) -> Tensor:
    """Return (decisions,), from the filters' scores of each layer."""
    layers = [filters[name][members].mean(dim=1) for name, members in group.items()]
    if len(layers) == 1:
        return layers[0]
    tiny = torch.finfo(layers[0].dtype).tiny  # for a layer of zeros
    return torch.stack([scores / scores.abs().mean().clamp(min=tiny) for scores in layers]).mean(dim=0)
