"""What a detector's zeros imply: which channels depend on the image, what the others are, which of them are computed.

The analysis is exact and reads nothing but the weights, so it serves masked filters and scattered zeros alike. It is
one wave forward along the graph (a filter without weights is constant, and so is what only it feeds) and one backward
(a channel that no computed filter reads need not be computed). What is built from it is told in `compaction.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.channels import origins
from robustprune.detection.darknet.layers import Convolutional, Product, Reorg, Shortcut, Yolo
from robustprune.inference.graph import IMAGE


class Channels(NamedTuple):
    """The output channels of one layer, (channels,) each.

    A channel is what is computed for it, if anything is, plus `constant`.

    Attributes:
        computed: what the smaller network has to compute; the image's channels are given.
        constant: the value of a channel that is the same everywhere in every image. Not zero for a computed one where
            a linear sum adds such a channel to others.
    """

    computed: Tensor
    constant: Tensor


class Filters:
    """The convolution of one layer with its batch norm folded in, and which of its weights are not zero.

    Attributes:
        weight: (filters, inputs / groups, height, width).
        reads: (groups, filters / groups, inputs / groups), whether a filter has a weight for an input.
    """

    def __init__(self, layer: Convolutional, weight: Tensor, bias: Tensor) -> None:
        """`weight` and `bias` stand in for the layer's own."""
        self.weight, self.bias, self.activation = weight, bias, layer.activation
        self.groups = layer.conv.groups
        self.padded = layer.conv.padding != (0, 0)
        self.reads = (weight != 0).any(dim=(2, 3)).unflatten(0, (self.groups, -1))

    def readers_of(self, inputs: Tensor) -> Tensor:
        """Return (filters,): who reads one of `inputs`, (inputs,) of bool."""
        read: Tensor = self.reads & inputs.view(self.groups, 1, -1)
        return read.any(dim=2).flatten()

    def read_by(self, filters: Tensor) -> Tensor:
        """Return (inputs,): what one of `filters`, (filters,) of bool, reads."""
        read: Tensor = self.reads & filters.view(self.groups, -1, 1)
        return read.any(dim=1).flatten()

    def taps(self, constant: Tensor) -> Tensor:
        """Return (filters, height, width): what each tap adds when every input channel is `constant`, (inputs,)."""
        weight = self.weight.unflatten(0, (self.groups, -1))
        return torch.einsum("gfihw,gi->gfhw", weight, constant.view(self.groups, -1)).flatten(0, 1)

    def unfilled(self, computed: Tensor, round_to: int) -> Tensor:
        """Return the filters to compute besides, so that groups are equal or the number a multiple of `round_to`."""
        by_group = computed.view(self.groups, -1)
        counts = by_group.sum(dim=1, keepdim=True)
        width = int(counts.max())
        if self.groups == 1:
            width = -(-width // round_to) * round_to
        missing = torch.where(counts > 0, width - counts, 0)
        return (~by_group & ((~by_group).cumsum(dim=1) <= missing)).flatten()


class Liveness:
    """The analysis of one detector.

    Attributes:
        filters: of each convolutional layer, by index.
        origins: of every other layer, by index.
        channels: of every layer and of the image, by index.
    """

    def __init__(
        self, detector: Detector, weights: Mapping[str, Tensor], *, round_to: int = 1, everything: bool = False
    ) -> None:
        """`weights` are those of the folded detector, by name; with `everything`, all is computed."""
        self._layers = list(zip(detector.layers, detector.inputs, strict=True))
        self.filters: dict[int, Filters] = {}
        self.origins: dict[int, list[Tensor]] = {}
        widths = {IMAGE: detector.sections[0].integer("channels", minimum=1)}
        for index, (layer, inputs) in enumerate(self._layers):
            if isinstance(layer, Convolutional):
                name = f"layers.{index}.conv"
                self.filters[index] = Filters(layer, weights[f"{name}.weight"], weights[f"{name}.bias"])
                widths[index] = layer.conv.out_channels
            else:
                self.origins[index] = origins(layer, [widths[source] for source in inputs])
                widths[index] = len(self.origins[index][0])
        # What is computed although it is constant or unread.
        self._forced = {index: torch.full((width,), everything) for index, width in widths.items()}
        for layer, inputs in self._layers:
            if isinstance(layer, Yolo):
                self._forced[inputs[0]][:] = True
        for index, (layer, _) in enumerate(self._layers):
            if mixes(layer):
                self._force_all(index)
        self._solve(round_to)

    def taken(self, index: int, values: Mapping[int, Tensor]) -> Tensor:
        """Return (inputs, channels): of values per channel of each layer what a layer without weights takes in."""
        sources = zip(self._layers[index][1], self.origins[index], strict=True)
        return torch.stack([values[source][origin] * (origin >= 0) for source, origin in sources])

    def _solve(self, round_to: int) -> None:
        # Ends, because each round but the last forces another channel.
        while True:
            live, constants = self._forward()
            computed = self._backward(live)
            self.channels = {index: Channels(computed[index], constants[index]) for index in live}
            if not self._force(computed, round_to):
                return

    def _forward(self) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Which channels vary, and what the others are."""
        live = {IMAGE: torch.ones_like(self._forced[IMAGE])}
        constants = {IMAGE: torch.zeros(len(live[IMAGE]))}
        for index, (layer, inputs) in enumerate(self._layers):
            if index in self.filters:
                live[index], constants[index] = self._convolved(index, live[inputs[0]], constants[inputs[0]])
                continue
            live[index] = self.taken(index, live).any(dim=0)
            values = self.taken(index, constants)
            constants[index] = values.prod(dim=0) if isinstance(layer, Product) else values.sum(dim=0)
            if isinstance(layer, Product | Shortcut) and not keeps_constants(layer):
                constants[index] = _where_dead(live[index], layer.activation(constants[index]))
        return live, constants

    def _convolved(self, index: int, live: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
        filters = self.filters[index]
        taps = filters.taps(constant)
        varies = filters.readers_of(live) | self._forced[index]
        if filters.padded:
            # A constant is read as zero beyond the border: what reads it depends on the place, if not on the image.
            varies |= (taps != 0).any(dim=(1, 2))
        return varies, _where_dead(varies, filters.activation(filters.bias + taps.sum(dim=(1, 2))))

    def _backward(self, live: dict[int, Tensor]) -> dict[int, Tensor]:
        """Which live channels lead to a head."""
        computed = {index: forced.clone() for index, forced in self._forced.items()}
        for index, (layer, inputs) in reversed(list(enumerate(self._layers))):
            if isinstance(layer, Yolo):
                computed[index][:] = True
            for source, read in self._reads(index, inputs, computed[index]):
                computed[source] |= read & live[source]
        return computed

    def _reads(self, index: int, inputs: tuple[int, ...], computed: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield each source and which of its channels are read."""
        if index in self.filters:
            yield inputs[0], self.filters[index].read_by(computed)
            return
        for source, origin in zip(inputs, self.origins[index], strict=True):
            read = torch.zeros_like(self._forced[source])
            read[origin[computed & (origin >= 0)]] = True
            yield source, read

    def _force(self, computed: dict[int, Tensor], round_to: int) -> bool:
        """Add what must be computed besides; return whether there is anything."""
        found = False
        for index, (layer, inputs) in enumerate(self._layers):
            if not computed[index].any():
                continue
            if index in self.filters:
                extra = self.filters[index].unfilled(computed[index], round_to)
                self._forced[index] |= extra
                found |= bool(extra.any())
            if index in self.filters or isinstance(layer, Product):
                for source in inputs:
                    if source != IMAGE and not computed[source].any():
                        self._force_first(source)
                        found = True
        return found

    def _force_first(self, index: int) -> None:
        """Have one channel of a layer computed: whoever reads constants alone still has to learn the image's size."""
        channel = 0
        while True:
            self._forced[index][channel] = True
            if index not in self.origins:
                return
            index, channel = next(
                (source, int(origin[channel]))
                for source, origin in zip(self._layers[index][1], self.origins[index], strict=True)
                if origin[channel] >= 0
            )

    def _force_all(self, index: int) -> None:
        """Have all of a layer computed, and all that it takes in, as far as the convolutions before it."""
        self._forced[index][:] = True
        if index in self.origins:
            for source in self._layers[index][1]:
                if not self._forced[source].all():
                    self._force_all(source)


def mixes(layer: nn.Module) -> bool:
    """Whether a layer without weights hands channels on that are not what they were: it needs all of them."""
    return isinstance(layer, Reorg) or (isinstance(layer, Shortcut) and layer.strided)


def keeps_constants(layer: Product | Shortcut) -> bool:
    """Whether constants may be left to whoever reads the layer: it is a sum without activation."""
    return isinstance(layer, Shortcut) and isinstance(layer.activation, nn.Identity)


def _where_dead(live: Tensor, value: Tensor) -> Tensor:
    return torch.where(live, torch.zeros_like(value), value)
