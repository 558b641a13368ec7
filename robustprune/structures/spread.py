"""Scores of channels as scores of weights: the form in which every method hands them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from robustprune.structures.groups import CoupledGroup, Layer


def spread(scores: Sequence[Tensor], groups: Sequence[CoupledGroup], layers: Mapping[str, Layer]) -> dict[str, Tensor]:
    """Return scores per layer, in the shape of its weights, in which every weight of a filter has its channel's.

    Args:
        scores: of every group, (decisions,).
        groups: in which each filter of `layers` occurs once.
        layers: by name.
    """
    rows = {name: layer.weight.new_zeros(len(layer.weight)) for name, layer in layers.items()}
    for channels, group in zip(scores, groups, strict=True):
        for name, members in group.filters.items():
            values = channels.to(rows[name])[members.decisions.to(rows[name].device)]
            rows[name][members.indices.to(rows[name].device)] = values
    return {
        name: rows[name].view(-1, *[1] * (layer.weight.ndim - 1)).expand(layer.weight.shape).contiguous()
        for name, layer in layers.items()
    }
