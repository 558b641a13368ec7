"""Channels that come and go together, whatever the network: one type, found by DepGraph or along Darknet's graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Layer = nn.Conv2d | nn.Linear
"""What has filters: output channels of a convolution, or of a fully connected layer."""


class Members(NamedTuple):
    """Some channels of a layer, and the decision that each is subject to, both (count,) int64, on the CPU."""

    indices: Tensor
    decisions: Tensor


@dataclass(frozen=True, kw_only=True)
class CoupledGroup:
    """Decisions about the same layers: with a channel, everything goes that depends on it.

    Attributes:
        decisions: how many channels the group has; channels that go together count once.
        filters: of every layer whose output channels are decided on, by name, in the network's order.
        readers: of layers that read those channels: their input channels.
        copied: of what else reads them, such as a shortcut that copies channels: its input channels.
        norms: of norms of those channels.
        gates: of layers and norms at whose outputs a gate on the channels multiplies, where one on what readers read
            would not do: through a layer norm, which averages over channels, or into a product with other channels.
        leaves: none of its channels is counted, mixed with others or handed out by what is no layer of weights: without
            one, the network computes what it does where nobody reads that channel.
        dependencies: what removes decisions by its `prune`, such as torch-pruning's own group of all of them; None
            where channels of this network are not removed but masked.
    """

    decisions: int
    filters: Mapping[str, Members]
    readers: Mapping[str, Members] = field(default_factory=dict)
    copied: Mapping[str, Members] = field(default_factory=dict)
    norms: Mapping[str, Members] = field(default_factory=dict)
    gates: Mapping[str, Members] = field(default_factory=dict)
    leaves: bool = True
    dependencies: Any = None

    def remove(self, decisions: Sequence[int]) -> None:
        """Take channels out of the network, in place; once only, as the others are numbered anew."""
        assert self.dependencies is not None
        if decisions:
            self.dependencies.prune(list(decisions))


def decided_layers(network: nn.Module, groups: Sequence[CoupledGroup]) -> dict[str, Layer]:
    """Return the layers whose output channels `groups` decide on, by name, in the network's order."""
    decided = {name for group in groups for name in group.filters}
    return {
        name: module
        for name, module in network.named_modules()
        if name in decided and isinstance(module, nn.Conv2d | nn.Linear)
    }


def decided_filters(groups: Sequence[CoupledGroup]) -> dict[str, Tensor]:
    """Return the filters of each layer that `groups` decide on, by the layer's name: (count,) int64, on the CPU."""
    parts: dict[str, list[Tensor]] = {}
    for group in groups:
        for name, members in group.filters.items():
            parts.setdefault(name, []).append(members.indices)
    return {name: torch.cat(indices) for name, indices in parts.items()}


def filter_masks(
    groups: Sequence[CoupledGroup], kept: Sequence[Tensor], importance: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return, for every layer that `groups` decide on, which of its filters stay: (filters,), boolean, on the CPU.

    Args:
        groups: in which each filter occurs at most once; one that is in none stays.
        kept: of every group (decisions,), as the scopes return it.
        importance: of every layer, (filters, …).
    """
    masks: dict[str, Tensor] = {}
    for group, stays in zip(groups, kept, strict=True):
        for name, members in group.filters.items():
            mask = masks.setdefault(name, torch.ones(len(importance[name]), dtype=torch.bool))
            mask[members.indices] = stays.cpu()[members.decisions]
    return masks
