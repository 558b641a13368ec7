"""How torch-pruning prunes a `ChannelShortcut`: the channels it takes in and those it gives out, each by themselves.

Imports torch-pruning; whoever needs it imports this module only then.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch_pruning import BasePruningFunc

from robustprune.classification.networks.cifar import ChannelShortcut


class ChannelShortcutPruner(BasePruningFunc):  # type: ignore[misc]
    """Prune one side of a shortcut; the function it computes of the channels that stay does not change."""

    def prune_out_channels(self, layer: ChannelShortcut, idxs: Sequence[int]) -> ChannelShortcut:
        """Leave out the output channels `idxs`."""
        layer.source = layer.source[_staying(len(layer.source), idxs, layer.source.device)]
        return layer

    def prune_in_channels(self, layer: ChannelShortcut, idxs: Sequence[int]) -> ChannelShortcut:
        """Give zeros instead of the input channels `idxs`, and find the others where they now are."""
        staying = _staying(layer.in_channels, idxs, layer.source.device)
        # One entry more than there are channels, for an index of -1 to find: zeros stay zeros.
        renumbered = staying.new_full((layer.in_channels + 1,), -1, dtype=torch.int64)
        renumbered[:-1][staying] = torch.arange(int(staying.sum()), device=staying.device)
        layer.source = renumbered[layer.source]
        layer.in_channels = int(staying.sum())
        return layer

    def get_out_channels(self, layer: ChannelShortcut) -> int:
        """Return how many channels come out."""
        return len(layer.source)

    def get_in_channels(self, layer: ChannelShortcut) -> int:
        """Return how many channels go in."""
        return layer.in_channels


def _staying(channels: int, pruned: Sequence[int], device: torch.device) -> torch.Tensor:
    staying = torch.ones(channels, dtype=torch.bool, device=device)
    staying[list(pruned)] = False
    return staying
