"""Which channels stay: the most important of each group, or of all groups together. Nothing is removed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from robustprune.classification.pruning.channel_groups import ChannelGroup
from robustprune.structures.masks import keep_count, largest


def within_layers(importance: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """Return, for every group, which of its channels stay: (decisions,), boolean; at least one does.

    Args:
        importance: of every group (decisions,).
        sparsity: fraction of each group's channels to prune, in [0, 1].

    Raises:
        ValueError: a score is NaN.
    """
    return [largest(scores, keep_count(sparsity, len(scores))) for scores in importance]


def across_layers(importance: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """Return, for every group, which of its channels stay when all groups compete: (decisions,), boolean.

    A channel is worth its score over the mean of its group's. Each group's best ranks before all others, and stays.

    Args:
        importance: of every group (decisions,), at least 0.
        sparsity: fraction of all channels to prune, in [0, 1]; less goes only where one channel of each group is left.

    Raises:
        ValueError: a score is NaN.
    """
    sizes = [len(scores) for scores in importance]
    kept = max(keep_count(sparsity, sum(sizes)), len(sizes))
    ranked = torch.cat([_ranked(scores) for scores in importance])
    return list(largest(ranked, kept).split(sizes))


SCOPES: Mapping[str, Callable[[Sequence[Tensor], float], list[Tensor]]] = {
    "layer": within_layers,
    "global": across_layers,
}
"""What competes for staying, by name."""


def filter_masks(groups: Sequence[ChannelGroup], kept: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return, for every layer that `groups` decide on, which of its filters stay: (filters,), boolean.

    Args:
        groups: of a classifier.
        kept: of every group (decisions,), as the scopes return it.
    """
    return {
        name: torch.zeros_like(filters.indices, dtype=torch.bool).scatter(0, filters.indices, stays[filters.decisions])
        for group, stays in zip(groups, kept, strict=True)
        for name, filters in group.filters.items()
    }


def _ranked(scores: Tensor) -> Tensor:
    exact = scores.double()  # so that no two scores become one
    relative = exact / exact.mean().clamp(min=torch.finfo(exact.dtype).tiny)  # of a group of zeros, zeros
    return relative.masked_fill(largest(scores, 1), torch.inf)
