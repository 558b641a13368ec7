"""Networks without the channels that were pruned, and how many are left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robustprune.structures.groups import CoupledGroup


class ChannelCounts(NamedTuple):
    """What a pruning left of the channels that could be pruned; those that go together count once.

    Attributes:
        channels_total: before.
        channels_kept: after.
        fewest_channels: the fewest left in any group of layers.
        layers_at_floor: groups of layers cut to their last channel.
    """

    channels_total: int
    channels_kept: int
    fewest_channels: int
    layers_at_floor: int


def kept_decisions(groups: Sequence[CoupledGroup], masks: Mapping[str, Tensor]) -> list[Tensor]:
    """Return which channels of each group stay, (decisions,), boolean: those of which any weight of a filter stays.

    Args:
        groups: whose filters the masks cover as a whole, or not at all.
        masks: of weights, by layer; a layer without one stays.
    """
    kept = []
    for group in groups:
        stays = torch.zeros(group.decisions, dtype=torch.bool)
        for name, members in group.filters.items():
            if name in masks:
                rows = masks[name].flatten(1).any(dim=1).cpu()[members.indices]
            else:
                rows = torch.ones(len(members.indices), dtype=torch.bool)
            stays[members.decisions[rows]] = True
        kept.append(stays)
    return kept


def departing(network: nn.Module, groups: Sequence[CoupledGroup], kept: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return masks of what leaves a network with its filters, by the parameter's name: scale and shift of batch norm,
    and biases, (channels,) each, `True` where they stay.

    Without it a masked filter would go on emitting a constant, and a trainable one, as no smaller network could. A
    channel of a batch norm that several groups go through leaves only with the last of its filters: the others still
    need its scale and shift.

    Args:
        network: that the groups are of.
        groups: whose filters are masked as such.
        kept: of every group (decisions,), boolean.
    """
    parameters = dict(network.named_parameters())
    needed: dict[str, Tensor] = {}
    seen: dict[str, Tensor] = {}
    for group, stays in zip(groups, kept, strict=True):
        for layer, members in (*group.filters.items(), *group.norms.items()):
            for name in [f"{layer}.bias", *([f"{layer}.weight"] if layer in group.norms else [])]:
                if name in parameters:
                    kept_by = needed.setdefault(name, torch.zeros(len(parameters[name]), dtype=torch.bool))
                    decided = seen.setdefault(name, torch.zeros_like(kept_by))
                    kept_by[members.indices] |= stays[members.decisions]
                    decided[members.indices] = True
    return {name: (kept_by | ~seen[name]).to(parameters[name].device) for name, kept_by in needed.items()}


def unread(
    network: nn.Module, groups: Sequence[CoupledGroup], kept: Sequence[Tensor], departed: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return masks of the weights that read masked filters alone, by the parameter's name, in the shape of the weights,
    `True` where they read another: a network without these filters would not have them either.

    They are counted and not set to zero: whatever they are, they multiply a zero.

    Args:
        network: that the groups are of.
        groups: whose filters are masked as such.
        kept: of every group (decisions,), boolean.
        departed: what `departing` returns for these. A filter whose channel of batch norm stays for others is read.
    """
    masks: dict[str, Tensor] = {}
    for group, stays in zip(groups, kept, strict=True):
        emits = stays.clone()
        for layer, members in group.norms.items():
            scales = departed.get(f"{layer}.weight")
            if scales is not None:
                # Members of one decision may lie in several places: one that stays is enough.
                emits[members.decisions[scales.cpu()[members.indices]]] = True
        for layer, members in group.readers.items():
            module, inputs = network.get_submodule(layer), members.indices[~emits[members.decisions]]
            weight = module.weight
            assert isinstance(weight, Tensor)
            name, width = f"{layer}.weight", weight.shape[1]
            mask = masks.setdefault(name, torch.ones(weight.shape, dtype=torch.bool))
            # Of a grouped convolution, each group of filters sees inputs of its own.
            mask.unflatten(0, (getattr(module, "groups", 1), -1))[inputs // width, :, inputs % width] = False
    return {name: mask.to(network.get_parameter(name).device) for name, mask in masks.items()}


@torch.no_grad()
def remove(groups: Sequence[CoupledGroup], kept: Sequence[Tensor]) -> None:
    """Take the channels that do not stay out of the network that `groups` are of, in place, with all that depends on
    them. Where all stay, the network stays bit for bit.

    Args:
        groups: found on that network as it is.
        kept: of every group (decisions,), boolean; one of each stays, and the network still runs.
    """
    for group, stays in zip(groups, kept, strict=True):
        group.remove((~stays).nonzero()[:, 0].tolist())


def channel_counts(kept: Sequence[Tensor]) -> ChannelCounts:
    """Return how many channels stay, of every group (decisions,), boolean."""
    left = [int(stays.sum()) for stays in kept]
    return ChannelCounts(
        channels_total=sum(map(len, kept)),
        channels_kept=sum(left),
        fewest_channels=min(left),
        layers_at_floor=sum(count == 1 < len(stays) for count, stays in zip(left, kept, strict=True)),
    )
