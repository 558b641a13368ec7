"""Scores of whole channels that a loss can be differentiated by: gates between channels and the layers that read them.

The mean of its weights' scores would be the plainest score of a filter, but no loss moves it: where batch norm
normalises by the batch, a kept filter's scale does not matter, so that Σ W · ∂L/∂W over its weights is zero, and only
filters that are pruned already have a gradient. A gate multiplies what layers read of a channel: at 0 it has left, and
still there is a gradient that tells whether to take it back; at 1 it is as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from robustprune.structures.groups import CoupledGroup, Members


def gated(network: nn.Module, groups: Sequence[CoupledGroup], gates: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the parameters, by name, of a network in which what is read of each channel is multiplied by a gate.

    Where a shortcut copies channels, no weight reads them there: those are multiplied where they come from, and of a
    gate at 0 there may be no gradient. Where a group names its `gates`, channels are multiplied there.

    Args:
        network: not changed.
        groups: of it.
        gates: of every group, (decisions,).
    """
    factors: dict[str, Tensor] = {}
    read: dict[str, Tensor] = {}
    parameters = dict(network.named_parameters())

    def multiply(found: dict[str, Tensor], name: str, length: int, members: Members, gate: Tensor) -> None:
        indices, decisions = (each.to(gate.device) for each in members)
        found[name] = found.get(name, gate.new_ones(length)).index_put((indices,), gate[decisions])

    for group, gate in zip(groups, gates, strict=True):
        if not group.copied and not group.gates:
            for layer, members in group.readers.items():
                multiply(read, layer, _inputs(network.get_submodule(layer)), members, gate)
            continue
        for layer, members in (group.gates or {**group.filters, **group.norms}).items():
            for name in (f"{layer}.weight", f"{layer}.bias"):
                if name in parameters:
                    multiply(factors, name, len(parameters[name]), members, gate)
    found = {
        name: parameters[name] * factor.view(-1, *[1] * (parameters[name].ndim - 1)) for name, factor in factors.items()
    }
    for layer, factor in read.items():
        name = f"{layer}.weight"
        found[name] = _read(network.get_submodule(layer), found.get(name, parameters[name]), factor)
    return found


def _inputs(layer: nn.Module) -> int:
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features


def _read(layer: nn.Module, weight: Tensor, factor: Tensor) -> Tensor:
    """Return a weight of a layer with which its inputs are as if multiplied by (inputs,)."""
    if not isinstance(layer, nn.Conv2d):
        return weight * factor
    # Each group of filters reads channels of its own.
    by_group: Tensor = weight.unflatten(0, (layer.groups, -1)) * factor.view(layer.groups, 1, -1, 1, 1)
    return by_group.flatten(0, 1)
