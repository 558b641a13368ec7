"""Prune whole kernels: all that one filter reads of one channel. A structure in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from robustprune.structures import CoupledGroup, Masks, Scope, StructureEntry


def kernels(importance: Mapping[str, Tensor], ratio: float, groups: Sequence[CoupledGroup], scope: Scope) -> Masks:
    """Return masks that keep the kernels whose weights are the most important on average."""
    kept = scope([scores.flatten(2).mean(2) if scores.ndim == 4 else scores for scores in importance.values()], ratio)
    return {
        name: stays.view(*stays.shape, *[1] * (scores.ndim - 2)).expand(scores.shape).clone()
        for (name, scores), stays in zip(importance.items(), kept, strict=True)
    }


KERNELS = StructureEntry(masks=kernels)
