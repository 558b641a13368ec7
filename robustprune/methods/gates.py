"""Scores of whole channels that a loss can be differentiated by: gates on what filters hand on.

The mean of its weights' scores would be the plainest score of a filter, but no loss moves it: where batch norm
normalises by the batch, a kept filter's scale does not matter, so that Σ W · ∂L/∂W over its weights is zero, and only
filters that are pruned already have a gradient. A gate multiplies scale and shift of the filter's batch norm instead,
or the filter and its bias where it has none. At 0 it is a filter that has left, at 1 one that is as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from robustprune.structures.groups import CoupledGroup


def gated(network: nn.Module, groups: Sequence[CoupledGroup], gates: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the parameters, by name, of a network whose channels are multiplied by gates.

    Args:
        network: not changed.
        groups: in which each filter occurs once.
        gates: of every group, (decisions,).
    """
    parameters = dict(network.named_parameters())
    factors: dict[str, Tensor] = {}
    for group, own in zip(groups, gates, strict=True):
        for layer, members in group.filters.items():
            norm = group.normed.get(layer, layer)
            for name in (f"{norm}.weight", f"{norm}.bias"):
                if name in parameters:
                    factor = factors.get(name, own.new_ones(len(parameters[name])))
                    factors[name] = factor.index_put(
                        (members.indices.to(own.device),), own[members.decisions.to(own.device)]
                    )
    return {
        name: parameters[name] * factor.view(-1, *[1] * (parameters[name].ndim - 1)) for name, factor in factors.items()
    }
