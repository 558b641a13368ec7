"""The modules of a compacted detector that Darknet does not have.

All are for inference: they work on a few of a layer's channels, given by index, in either memory format.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BorderedConvolution(nn.Module):
    """A zero-padded convolution that also reads channels of constants, which end where the image ends.

    What those channels, of which nothing is stored, add to a filter's output is `taps` summed over the taps that lie
    inside the image: less at the border. It depends on the size of the image alone and takes the place of the bias as
    a map, kept from one call to the next. (An input channel of ones, the other exact way, measured slower: it widens
    the convolution beyond what hardware likes, and somebody has to write it.) A program that is exported draws it anew:
    as a constant, it would take more space than the weights.
    """

    map: Tensor

    def __init__(self, conv: nn.Conv2d, activation: nn.Module, *, taps: Tensor, bias: Tensor) -> None:
        """`conv` has no bias; `taps` is (filters, 1, height, width), `bias` (filters,)."""
        super().__init__()
        self.conv, self.activation = conv, activation
        self.taps, self.bias = nn.Parameter(taps), nn.Parameter(bias)
        self.register_buffer("map", torch.empty(0), persistent=False)
        self._map_size: torch.Size | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, filters, H', W')."""
        output: Tensor = self.conv(x)
        if torch.compiler.is_exporting():
            # As many as there are images: their number is not known yet, or an optimizer would draw it.
            output = output + self._drawn(x.new_ones(x.shape[0], 1, *x.shape[2:]))
        else:
            if self._map_size != x.shape[2:]:
                self.map, self._map_size = self._draw_map(x, like=output), x.shape[2:]
            output.add_(self.map)
        activated: Tensor = self.activation(output)
        return activated

    @torch.no_grad()
    def _draw_map(self, x: Tensor, *, like: Tensor) -> Tensor:
        drawn = self._drawn(x.new_ones(1, 1, *x.shape[2:]))
        last = like.is_contiguous(memory_format=torch.channels_last)
        return drawn.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)

    def _drawn(self, ones: Tensor) -> Tensor:
        return nn.functional.conv2d(ones, self.taps, self.bias, self.conv.stride, self.conv.padding)


class ChannelsLast(nn.Module):
    """A layer that takes its input in channels-last memory."""

    def __init__(self, layer: nn.Module) -> None:
        """`layer` has one input."""
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """As `layer`."""
        output: Tensor = self.layer(x.contiguous(memory_format=torch.channels_last))
        return output


class Select(nn.Module):
    """Some channels of its input, in any order."""

    index: Tensor

    def __init__(self, index: Tensor) -> None:
        """`index` is (channels,)."""
        super().__init__()
        self.register_buffer("index", index)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, channels, H, W)."""
        if x.is_contiguous():
            return x.index_select(1, self.index)
        return x.permute(0, 2, 3, 1).index_select(3, self.index).permute(0, 3, 1, 2)


class Complete(nn.Module):
    """Channels as they are, of which some are stored and some are constant."""

    stored: Tensor
    constant: Tensor

    def __init__(self, index: Tensor, *, stored: Tensor, constant: Tensor) -> None:
        """(channels,) each; `index` is of no account where nothing is `stored`."""
        super().__init__()
        self.select = Select(index)
        self.register_buffer("stored", stored.view(-1, 1, 1))
        self.register_buffer("constant", constant.view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, channels, H, W)."""
        return torch.addcmul(self.constant, self.select(x), self.stored)


class Sum(nn.Module):
    """Sum of inputs that hold different channels of the whole, then an activation.

    The first input holds the first channels of the sum; `missing` ones follow it, which only others hold.
    """

    constant: Tensor | None

    def __init__(
        self, positions: list[Tensor | None], *, missing: int, constant: Tensor | None, activation: nn.Module
    ) -> None:
        """`positions` of each input's channels in the sum, None if it holds them all in order; `constant` is added."""
        super().__init__()
        self.missing, self.activation = missing, activation
        self._names = [f"positions{number}" for number in range(len(positions))]
        for name, position in zip(self._names, positions, strict=True):
            self.register_buffer(name, position)
        self.register_buffer("constant", None if constant is None else constant.view(-1, 1, 1))

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """(N, C_i, H, W) each -> (N, C, H, W)."""
        total = nn.functional.pad(first, (0, 0, 0, 0, 0, self.missing)) if self.missing else first
        for name, other in zip(self._names, others, strict=True):
            positions: Tensor | None = getattr(self, name)
            if positions is None:
                total = total + other
            elif total.is_contiguous():
                total = total.index_add(1, positions, other)
            else:
                last = total.permute(0, 2, 3, 1).index_add(3, positions, other.permute(0, 2, 3, 1))
                total = last.permute(0, 3, 1, 2)
        if self.constant is not None:
            total = total + self.constant
        output: Tensor = self.activation(total)
        return output
