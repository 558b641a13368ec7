"""What a network costs as a function of which of its channels stay, exact and differentiable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from robustprune.structures.groups import CoupledGroup, Layer, Members


class Operations:
    """Multiply–accumulates of a network's convolutions and fully connected layers, by masks of its channels.

    A layer of c of them for each of its filters and each channel that a filter reads takes c · n_in · n_out, where n_in
    and n_out count the channels that stay. What decides on them is found in the groups: with a filter that reads a
    channel of its own (depthwise) both go, and it counts once; the filters of a grouped convolution read channels of
    their own group alone; a fully connected layer behind a flattened map reads several features of each channel; and
    channels that no group decides on, such as the image's and a head's, always stay.

    How often a layer runs is taken to be the same whatever goes. It is not where a layer mixes tokens, channel by
    channel, as in MLP-Mixers: of these more is left by this count than is in truth.
    """

    def __init__(self, network: nn.Module, groups: Sequence[CoupledGroup], layer_macs: Mapping[str, int]) -> None:
        """Take stock.

        Args:
            network: that the groups are of; only its layers' shapes are looked at.
            groups: their decisions are numbered one after the other.
            layer_macs: of the whole network, for one input, by layer; see `inference.cost.size`.
        """
        self.full = sum(layer_macs.values())
        self._decisions = sum(group.decisions for group in groups)
        filters, inputs, costs = [], [], []
        for name, macs in layer_macs.items():
            layer = network.get_submodule(name)
            assert isinstance(layer, Layer)
            own, read = self._parts(name, layer, groups)
            filters.append(own)
            inputs.append(read)
            costs += [macs // layer.weight.shape[:2].numel()] * len(own)
        device = next(network.parameters()).device
        self._filters, self._inputs = (torch.cat(parts).to(device) for parts in (filters, inputs))
        self._costs = torch.tensor(costs, dtype=torch.float64, device=device)

    def __call__(self, stay: Tensor) -> Tensor:
        """Return the operations that are left, a scalar of float64, in which whole numbers are exact.

        Args:
            stay: (decisions,), 1 where a channel stays and 0 where it goes.
        """
        with_constant = torch.cat([stay.double(), stay.new_ones(1, dtype=torch.float64)])
        return (self._costs * (self._filters @ with_constant) * (self._inputs @ with_constant)).sum()

    def _parts(self, name: str, layer: Layer, groups: Sequence[CoupledGroup]) -> tuple[Tensor, Tensor]:
        """Return how many filters, and channels that they read, are subject to each decision: (parts, decisions + 1)
        each, one part for every group of a convolution; in the last place those that always stay.
        """
        count, width = layer.weight.shape[:2]
        parts = layer.groups if isinstance(layer, nn.Conv2d) else 1
        own = self._subject(count, [group.filters.get(name) for group in groups], groups)
        read = self._subject(parts * width, [group.readers.get(name) for group in groups], groups)
        if (read == self._decisions).all():  # as of depthwise filters: what they read goes with them
            return self._counted(own, 1), self._counted(read[:width], 1)
        return self._counted(own, parts), self._counted(read, parts)

    def _subject(self, count: int, members: Sequence[Members | None], groups: Sequence[CoupledGroup]) -> Tensor:
        """Return the number of the decision that each of some channels is subject to; that after the last for none."""
        subject = torch.full((count,), self._decisions)
        first = 0
        for group, found in zip(groups, members, strict=True):
            if found is not None:
                subject[found.indices] = first + found.decisions
            first += group.decisions
        return subject

    def _counted(self, subject: Tensor, parts: int) -> Tensor:
        rows = subject.view(parts, -1)
        counts = torch.zeros(parts, self._decisions + 1, dtype=torch.float64)
        return counts.scatter_add_(1, rows, torch.ones_like(rows, dtype=torch.float64))
