"""A compacted detector as a plain Darknet one: a .cfg and weights that any engine which reads Darknet's files runs.

Constants that zero padding cuts off at the border (see `compact_layers.BorderedConvolution`) become one more input
channel, of ones, whose weights are the taps. A convolution without weights makes it, a [route] puts it beside what is
read; both serve all readers of a layer. What Darknet has no layers for is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.cfg import Section
from robustprune.detection.darknet.compact.compaction import CompactDetector
from robustprune.detection.darknet.ends import fit_of
from robustprune.detection.darknet.graph import HEADS
from robustprune.detection.darknet.layers import ACTIVATIONS, Convolutional, MaxPool, Reorg, Route, Shortcut, Yolo
from robustprune.detection.data.letterbox import Fit
from robustprune.detection.image_size import ImageSize, sides
from robustprune.inference.compact_layers import BorderedConvolution, Complete, Select, Sum
from robustprune.inference.graph import IMAGE

_ACTIVATIONS = {type(activation.make()): name for name, activation in ACTIVATIONS.items()}

_UNKNOWN = {
    Select: "a choice of a layer's channels",
    Complete: "channels that are constant beside others that are not",
    Sum: "a sum of layers that hold different channels, or of constants",
}


@torch.no_grad()
def as_darknet(
    network: CompactDetector, sections: Sequence[Section], *, image_size: ImageSize, fit: Fit | None = None
) -> Detector:
    """Return a detector of Darknet's layers alone, without batch norms, that computes what `network` does.

    Args:
        network: not changed.
        sections: of the .cfg from which it was made: [net] and the heads are taken over.
        image_size: of the images that the new .cfg names, in pixels.
        fit: how pictures are brought to that size, for the .cfg to say; None leaves it to what it says already.

    Raises:
        InputError: Darknet cannot express it; the message names the layer.
    """
    writer = _Writer(network, sections, image_size)
    for step, (module, inputs) in enumerate(zip(network.layers, network.inputs, strict=True)):
        writer.add(step, module, inputs)
    if fit is not None and fit != fit_of(writer.sections).fit:
        net = writer.sections[0]
        letter_box = "1" if fit == "letterbox" else "0"
        writer.sections[0] = dataclasses.replace(net, options={**net.options, "letter_box": letter_box})
    detector = Detector(writer.sections).eval()
    convolutions = [layer.conv for layer in detector.layers if isinstance(layer, Convolutional)]
    for conv, (weight, bias) in zip(convolutions, writer.weights, strict=True):
        assert conv.bias is not None
        conv.weight.copy_(weight)
        conv.bias.copy_(bias)
    return detector


class _Writer:
    """Turns steps into sections, one after the other.

    Attributes:
        sections: so far, [net] first.
        weights: weight and bias of each convolution.
    """

    def __init__(self, network: CompactDetector, sections: Sequence[Section], image_size: ImageSize) -> None:
        height, width = sides(image_size)
        options = {**sections[0].options, "width": str(width), "height": str(height)}
        self.sections = [dataclasses.replace(sections[0], options=options)]
        self.weights: list[tuple[Tensor, Tensor]] = []
        self._heads = iter([section for section in sections if section.name in HEADS])
        self._names = iter(network.widths)
        self._where = "the image"
        # Index of the layer that each step has become, and of each layer with a channel of ones beside it.
        self._layers = {IMAGE: IMAGE}
        self._with_ones: dict[int, int] = {}

    def add(self, step: int, module: nn.Module, inputs: tuple[int, ...]) -> None:
        sources = [self._layers[source] for source in inputs]
        if isinstance(module, BorderedConvolution):
            self._next_name()
            self._bordered(module, sources[0])
        elif isinstance(module, nn.Sequential):
            self._next_name()
            conv, activation = module
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            self._read(sources[0])
            self._convolution(conv, activation, conv.weight, conv.bias)
        elif isinstance(module, Route):
            self._route(*sources)
        elif (isinstance(module, Sum) and _is_plain(module)) or isinstance(module, Shortcut):
            self._read(sources[0])
            self._section("shortcut", activation=_name(module.activation), **{"from": _listed(sources[1:])})
        elif isinstance(module, MaxPool):
            self._read(sources[0])
            self._section("maxpool", size=module.size, stride=module.stride, padding=sum(module.padding))
        elif isinstance(module, Reorg):
            self._read(sources[0])
            self._section("reorg", stride=module.stride)
        elif isinstance(module, nn.Upsample):
            self._read(sources[0])
            self._section("upsample", stride=int(module.scale_factor))  # type: ignore[arg-type]
        elif isinstance(module, Yolo):
            self._yolo(module, sources[0])
        else:
            what = _UNKNOWN.get(type(module), f"a layer of type {type(module).__name__}")
            raise self._error(f"{what}, after {self._where}")
        self._layers[step] = self._last

    @property
    def _last(self) -> int:
        """Index of the latest layer, which the next one reads unless it says otherwise."""
        return len(self.sections) - 2

    def _section(self, name: str, **options: object) -> None:
        texts = {key: str(value) for key, value in options.items()}
        self.sections.append(Section(name, texts, len(self.sections), "the compacted .cfg"))

    def _read(self, layer: int) -> None:
        if layer == self._last:
            return
        if layer == IMAGE:
            raise self._error("a layer that reads the image once more")
        self._route(layer)

    def _route(self, *layers: int) -> None:
        self._section("route", layers=_listed(layers))

    def _convolution(self, conv: nn.Conv2d, activation: nn.Module, weight: Tensor, bias: Tensor) -> None:
        size, padding = conv.kernel_size[0], int(conv.padding[0])
        self._section(
            "convolutional",
            filters=len(weight),
            size=size,
            stride=conv.stride[0],
            # Engines that know `padding` in pixels are fewer than those that know the switch.
            **({"pad": 1} if padding == size // 2 else {"padding": padding}),
            **({"groups": conv.groups} if conv.groups > 1 else {}),
            activation=_name(activation),
        )
        self.weights.append((weight, bias))

    def _bordered(self, module: BorderedConvolution, source: int) -> None:
        if module.conv.groups > 1:
            raise self._error(f"constants that end at the border in the grouped convolution {self._where}")
        if source not in self._with_ones:
            self._read(source)
            weight = module.conv.weight.new_zeros(1, module.conv.in_channels, 1, 1)
            self._section("convolutional", filters=1, size=1, stride=1, pad=1, activation="linear")
            self.weights.append((weight, weight.new_ones(1)))
            self._route(source, self._last)
            self._with_ones[source] = self._last
        self._read(self._with_ones[source])
        self._convolution(
            module.conv, module.activation, torch.cat([module.conv.weight, module.taps], dim=1), module.bias
        )

    def _yolo(self, module: Yolo, source: int) -> None:
        assert source == self._last
        if module.new_coords:
            # There the .cfg has the activation that our layers leave to whoever decodes; see `build_heads`.
            section = self.sections[-1]
            self.sections[-1] = dataclasses.replace(section, options={**section.options, "activation": "logistic"})
        self.sections.append(next(self._heads))

    def _next_name(self) -> None:
        self._where = next(self._names)

    def _error(self, what: str) -> InputError:
        return InputError(f"Darknet has no layer for what is left of this detector: {what}")


def _is_plain(module: Sum) -> bool:
    """Whether all inputs hold the same channels, in the same order, and nothing is added to them."""
    return not module.missing and all(
        name == "constant" and not buffer.any() for name, buffer in module.named_buffers(recurse=False)
    )


def _name(activation: nn.Module) -> str:
    return _ACTIVATIONS[type(activation)]


def _listed(layers: Sequence[int]) -> str:
    return ",".join(map(str, layers))
