"""Physically smaller detectors: what is left of a pruned one when everything that its zeros make idle is taken out.

How constants are dealt with:

- A filter without weights gives one value everywhere. Nothing of it is stored; whoever reads it takes what that value
  adds into its bias, or, where zero padding cuts the value off at the border, into a map that takes the bias's place.
- A residual sum stores the channels that any of its inputs stores, and adds the others' by index. Where one input is
  constant and another is not, that constant too is left to the readers (unless an activation follows the sum). So a
  filter is computed only if it has weights, and a sum is wide only if its inputs are: the masks need not agree.
- A depthwise filter of a constant, whose output differs at the border alone, is computed. Groups with no filter left
  disappear; the others stay equally large, by filters of zeros if need be.
- A layer that has only constants to read, and still must know the image's size, keeps one channel of its input.
- What a [reorg] reads, or a [shortcut] between layers of other pixels, is computed, constants too: there a channel does
  not come out as the one that went in.

Only zeros count: which weights are zero was decided where masks are drawn.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.compact.liveness import Liveness, keeps_constants, mixes
from robustprune.detection.darknet.folding import fold
from robustprune.detection.darknet.layers import AveragePool, Convolutional, MaxPool, Product, Route, Shortcut, Yolo
from robustprune.detection.darknet.network import check_images
from robustprune.inference.compact_layers import BorderedConvolution, Complete, Select, Sum
from robustprune.inference.graph import IMAGE, GraphNetwork, Step


class CompactDetector(GraphNetwork):
    """A detector for inference without what its zeros made idle; boxes are decoded by the one it was made from.

    Raw outputs are as an `AnchorDetector`'s, one per head.
    """

    def __init__(self, steps: list[Step], *, channels: int, stride: int, widths: dict[str, tuple[int, int]]) -> None:
        """`channels` are the image's, `stride` what both of its sides must be divisible by, in pixels."""
        heads = [index for index, step in enumerate(steps) if isinstance(step.module, Yolo)]
        super().__init__(steps, heads=heads, widths=widths)
        self.channels = channels
        self.stride = stride

    def forward(self, images: Tensor) -> list[Tensor]:
        """Shape: (N, channels, H, W) in [0, 1], H and W divisible by `stride`; returns as `AnchorDetector.forward`."""
        check_images(images, channels=self.channels, stride=self.stride)
        return super().forward(images)


class Stored(NamedTuple):
    """Where a layer's output is: the step that makes it, and which of the layer's channels it holds, in their order."""

    step: int
    channels: Tensor


@torch.no_grad()
def compact(detector: Detector, *, round_to: int = 1) -> CompactDetector:
    """Return a smaller network that computes what `detector` computes in eval mode.

    An unpruned detector comes back with its batch norms folded, the dense network to compare with. The result is on
    the detector's device, in PyTorch's default memory format; it may be converted.

    Args:
        detector: not changed, nor followed: compact it again once its weights have changed.
        round_to: compute so many idle filters besides that the number of filters of a layer is a multiple of this, or
            all the layer had; grouped convolutions are left alone.
    """
    return _built(detector, Liveness(detector, _folded(detector), round_to=round_to))


@torch.no_grad()
def whole(detector: Detector) -> CompactDetector:
    """Return `detector` with its batch norms folded and nothing else left out, whatever its zeros; see `compact`."""
    return _built(detector, Liveness(detector, _folded(detector), everything=True))


def _folded(detector: Detector) -> dict[str, Tensor]:
    # On the CPU: what follows is thousands of tiny operations, which a GPU would only slow down.
    return {name: tensor.cpu() for name, tensor in fold(detector).tensors.items()}


def _built(detector: Detector, liveness: Liveness) -> CompactDetector:
    builder = _Builder(liveness)
    for index, (layer, inputs) in enumerate(zip(detector.layers, detector.inputs, strict=True)):
        builder.build(index, layer, inputs)
    channels = len(liveness.channels[IMAGE].computed)
    network = CompactDetector(builder.steps, channels=channels, stride=detector.stride, widths=builder.widths)
    return network.to(next(detector.parameters()).device)


class _Builder:
    """Turns layers into steps, one after the other."""

    def __init__(self, liveness: Liveness) -> None:
        self._liveness = liveness
        self._channels = liveness.channels
        self._stored = {IMAGE: Stored(IMAGE, torch.arange(len(liveness.channels[IMAGE].computed)))}
        self.steps: list[Step] = []
        self.widths: dict[str, tuple[int, int]] = {}

    def build(self, index: int, layer: nn.Module, inputs: tuple[int, ...]) -> None:
        """Add what is left of a layer, if anything is."""
        if not self._channels[index].computed.any():
            return
        if isinstance(layer, Convolutional):
            self._stored[index] = self._convolution(index, layer, inputs[0])
        elif isinstance(layer, Product):
            self._stored[index] = self._product(index, layer, inputs)
        elif mixes(layer):
            self._stored[index] = self._mixed(index, layer, inputs)
        else:
            parts = self._parts(index, inputs)
            if isinstance(layer, Route):
                self._stored[index] = self._concatenation(parts)
            elif isinstance(layer, Shortcut):
                self._stored[index] = self._sum(index, layer, inputs, parts)
            elif isinstance(layer, AveragePool | MaxPool | nn.Upsample | Yolo):
                self._stored[index] = self._add(copy.deepcopy(layer), parts[0].channels, parts[0].step)
            else:
                assert isinstance(layer, nn.Dropout)
                self._stored[index] = parts[0]

    def _add(self, module: nn.Module, channels: Tensor, *inputs: int) -> Stored:
        self.steps.append(Step(module, inputs))
        return Stored(len(self.steps) - 1, channels)

    def _select(self, stored: Stored, places: Tensor, channels: Tensor) -> Stored:
        """`channels`, of which the one at place i of `stored` comes `places[i]`-th."""
        if torch.equal(places, torch.arange(len(stored.channels))):
            return stored._replace(channels=channels)
        return self._add(Select(places), channels, stored.step)

    def _parts(self, index: int, inputs: tuple[int, ...]) -> list[Stored]:
        """What a layer takes in of each input of which anything is stored, under its own numbers of channels."""
        parts = []
        for source, origin in zip(inputs, self._liveness.origins[index], strict=True):
            if source in self._stored:
                channels = _places(origin, self._stored[source].channels)
                places = (channels >= 0).nonzero().flatten()
                if len(places):
                    parts.append(self._select(self._stored[source], places, channels[places]))
        return parts

    def _concatenation(self, parts: list[Stored]) -> Stored:
        if len(parts) == 1:
            return parts[0]
        channels = torch.cat([part.channels for part in parts])
        return self._add(Route(groups=1, group_id=0), channels, *(part.step for part in parts))

    def _sum(self, index: int, layer: Shortcut, inputs: tuple[int, ...], parts: list[Stored]) -> Stored:
        parts = sorted(parts, key=lambda part: -len(part.channels))
        first, *others = parts
        held = torch.zeros_like(self._channels[index].computed)
        for part in parts:
            held[part.channels] = True
        held[first.channels] = False
        channels = torch.cat([first.channels, held.nonzero().flatten()])
        constant = None
        if not keeps_constants(layer):
            constants = {source: self._channels[source].constant for source in inputs}
            constant = self._liveness.taken(index, constants).sum(dim=0)[channels]
        elif not others:
            return first
        positions = [_places(channels, part.channels) for part in others]
        module = Sum(
            [None if torch.equal(place, torch.arange(len(channels))) else place for place in positions],
            missing=len(channels) - len(first.channels),
            constant=constant,
            activation=copy.deepcopy(layer.activation),
        )
        return self._add(module, channels, *(part.step for part in parts))

    def _product(self, index: int, layer: Product, inputs: tuple[int, ...]) -> Stored:
        channels = self._channels[index].computed.nonzero().flatten()
        factors = [self._complete(source, channels) for source in inputs]
        return self._add(copy.deepcopy(layer), channels, *(factor.step for factor in factors))

    def _mixed(self, index: int, layer: nn.Module, inputs: tuple[int, ...]) -> Stored:
        widths = {source: len(self._channels[source].computed) for source in (*inputs, index)}
        whole = [self._complete(source, torch.arange(widths[source])).step for source in inputs]
        return self._add(copy.deepcopy(layer), torch.arange(widths[index]), *whole)

    def _complete(self, source: int, channels: Tensor) -> Stored:
        """These channels of a layer, constants included."""
        stored, constant = self._stored[source], self._channels[source].constant[channels]
        places = _places(stored.channels, channels)
        if (places >= 0).all() and not constant.any():
            return self._select(stored, places, channels)
        module = Complete(places.clamp(min=0), stored=(places >= 0).to(constant.dtype), constant=constant)
        return self._add(module, channels, stored.step)

    def _convolution(self, index: int, layer: Convolutional, source: int) -> Stored:
        filters, stored = self._liveness.filters[index], self._stored[source]
        computed = self._channels[index].computed
        rows = computed.nonzero().flatten()
        groups = computed.view(filters.groups, -1).any(dim=1).nonzero().flatten()
        # Per group the places of its inputs among what is stored; -1 fills up the groups that have fewer.
        inputs = filters.weight.shape[1]
        owners = stored.channels // inputs
        own = [(owners == group).nonzero().flatten() for group in groups]
        places = pad_sequence(own, batch_first=True, padding_value=-1)
        places = nn.functional.pad(places, (0, 1), value=-1) if places.shape[1] == 0 else places
        group_of_row = torch.arange(len(groups)).repeat_interleave(len(rows) // len(groups))
        weight = filters.weight[rows.unsqueeze(1), (stored.channels[places] % inputs)[group_of_row]]
        weight[(places < 0)[group_of_row]] = 0
        read = self._select(stored, places.clamp(min=0).flatten(), stored.channels)
        module = _convolution(
            layer, weight, filters.bias[rows], filters.taps(self._channels[source].constant)[rows], groups=len(groups)
        )
        self.widths[f"layers.{index}.conv"] = (places.numel(), len(rows))
        return self._add(module, rows, read.step)


def _convolution(layer: Convolutional, weight: Tensor, bias: Tensor, taps: Tensor, *, groups: int) -> nn.Module:
    """What `layer` becomes with these weights, `taps` being what the constants that it reads add."""
    old = layer.conv
    assert isinstance(old.padding, tuple)
    # Without memory: initial weights would be wasted, and drawn from the global generator.
    conv = nn.Conv2d(
        groups * weight.shape[1],
        len(weight),
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        groups=groups,
        bias=False,
        device="meta",
    )
    conv.weight = nn.Parameter(weight)
    activation: Any = copy.deepcopy(layer.activation)
    if hasattr(activation, "inplace"):
        activation.inplace = True
    if any(old.padding) and taps.any():
        return BorderedConvolution(conv, activation, taps=taps.unsqueeze(1), bias=bias)
    conv.bias = nn.Parameter(bias + taps.sum(dim=(1, 2)))
    return nn.Sequential(conv, activation)


def _places(channels: Tensor, wanted: Tensor) -> Tensor:
    """Where each of `wanted` is among `channels`, -1 if nowhere; -1 among `channels` is no channel."""
    table = torch.full((int(max(channels.max(), wanted.max())) + 2,), -1)
    table[channels] = torch.arange(len(channels))
    table[-1] = -1
    return table[wanted]
