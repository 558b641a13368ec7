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

    Without it a masked filter would go on emitting a constant, and a trainable one, as no smaller network could.

    Args:
        network: that the groups are of.
        groups: whose filters are masked as such.
        kept: of every group (decisions,), boolean.
    """
    parameters = dict(network.named_parameters())
    masks: dict[str, Tensor] = {}
    for group, stays in zip(groups, kept, strict=True):
        for layer, members in (*group.filters.items(), *group.norms.items()):
            for name in [f"{layer}.bias", *([f"{layer}.weight"] if layer in group.norms else [])]:
                if name in parameters:
                    mask = masks.setdefault(name, torch.ones(len(parameters[name]), dtype=torch.bool))
                    mask[members.indices] = stays[members.decisions]
    return {name: mask.to(parameters[name].device) for name, mask in masks.items()}


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
