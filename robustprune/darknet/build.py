"""Sections to layers: what each Darknet section means, and every complaint about one.

Shapes are followed at the .cfg's own image size, so that a wrong file is refused before anything is trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import nn

from robustprune.darknet.cfg import Section
from robustprune.darknet.layers import ACTIVATIONS, Convolutional, MaxPool, Route, Shortcut, Yolo

IMAGE = -1
"""The index that stands for the network's input among a layer's inputs."""


class Shape(NamedTuple):
    """Size of one layer's output for one image."""

    channels: int
    height: int
    width: int


class Layer(NamedTuple):
    """A module, the indices of the layers that feed it (`IMAGE` for the input), and its output's shape."""

    module: nn.Module
    inputs: tuple[int, ...]
    shape: Shape


# Options that change the result and are not implemented, with the value under which they do nothing.
_NEUTRAL = {
    "convolutional": {"dilation": 1, "antialiasing": 0, "binary": 0, "xnor": 0, "stride_x": 0, "stride_y": 0},
    "maxpool": {"maxpool_depth": 0, "antialiasing": 0, "stride_x": 0, "stride_y": 0},
    "upsample": {"scale": 1},
    "yolo": {"new_coords": 0},
}


class _Graph:
    """The layers built so far, and the reading of references to them."""

    def __init__(self, image: Shape) -> None:
        self.image = image
        self.layers: list[Layer] = []
        self.sections: list[Section] = []

    def shape(self, index: int, reader: Section) -> Shape:
        """Output shape of a layer, which must not be a head."""
        if index == IMAGE:
            return self.image
        if self.sections[index].name == "yolo":
            raise reader.error(f"it reads layer {index}, which is a [yolo] head and feeds no layer")
        return self.layers[index].shape

    def sources(self, section: Section, key: str) -> tuple[int, ...]:
        """Absolute indices of an option that lists layers, negative ones counting back from this section."""
        here = len(self.layers)
        sources = []
        for reference in section.integers(key):
            source = reference if reference >= 0 else here + reference
            if not 0 <= source < here:
                raise section.error(
                    f"`{key}` {reference} leads to layer {source}, which is not before this one, layer {here}"
                )
            sources.append(source)
        return tuple(sources)


def build_layers(sections: Sequence[Section]) -> list[Layer]:
    """One layer per section after `[net]`, at the same index.

    Raises `InputError`, naming file, line and section, for whatever is unsupported or inconsistent.
    """
    net, *rest = sections
    graph = _Graph(
        Shape(*(net.integer(key, minimum=1) for key in ("channels", "height", "width"))),
    )
    for section in rest:
        if section.name not in _BUILDERS:
            supported = ", ".join(f"[{name}]" for name in _BUILDERS)
            raise section.error(f"unsupported section, expected one of {supported}")
        for key, neutral in _NEUTRAL.get(section.name, {}).items():
            if section.number(key, neutral) != neutral:
                raise section.error(f"`{key}` {section.text(key)} is not supported, expected {neutral}")
        layer = _BUILDERS[section.name](section, graph)
        graph.layers.append(layer)
        graph.sections.append(section)
    if not any(section.name == "yolo" for section in rest):
        raise net.error("the file has no [yolo] section, so nothing would be detected")
    return graph.layers


def with_classes(sections: Sequence[Section], classes: int) -> tuple[Section, ...]:
    """The same detector for another number of classes: every head and the convolution that feeds it."""
    rewritten = list(sections)
    for index, section in enumerate(sections):
        if section.name != "yolo":
            continue
        filters = len(_mask(section)) * (5 + classes)
        rewritten[index] = _with_option(section, "classes", classes)
        rewritten[index - 1] = _with_option(sections[index - 1], "filters", filters)
    return tuple(rewritten)


def _with_option(section: Section, key: str, value: int) -> Section:
    return dataclasses.replace(section, options={**section.options, key: str(value)})


def _activation(section: Section, default: str) -> str:
    name = section.text("activation", default)
    if name not in ACTIVATIONS:
        raise section.error(f"unknown activation {name!r}, expected one of {', '.join(ACTIVATIONS)}")
    return name


def _convolutional(section: Section, graph: _Graph) -> Layer:
    source = len(graph.layers) - 1
    shape = graph.shape(source, section)
    filters = section.integer("filters", 1, minimum=1)
    size = section.integer("size", 1, minimum=1)
    stride = section.integer("stride", 1, minimum=1)
    groups = section.integer("groups", 1, minimum=1)
    if shape.channels % groups or filters % groups:
        raise section.error(
            f"`groups` {groups} does not divide both {shape.channels} input channels and {filters} filters"
        )
    # Darknet's `pad` is a switch and wins over `padding`, which is in pixels.
    padding = size // 2 if section.integer("pad", 0, minimum=0) else section.integer("padding", 0, minimum=0)
    output = _windows(section, shape._replace(channels=filters), size, stride, 2 * padding)
    module = Convolutional(
        shape.channels,
        filters,
        size=size,
        stride=stride,
        padding=padding,
        groups=groups,
        batch_normalize=bool(section.integer("batch_normalize", 0, minimum=0)),
        activation=_activation(section, "logistic"),
    )
    return Layer(module, (source,), output)


def _windows(section: Section, shape: Shape, size: int, stride: int, padding: int) -> Shape:
    """Shape of one value per window, `padding` being the total of both sides."""
    height, width = ((side + padding - size) // stride + 1 for side in (shape.height, shape.width))
    if height < 1 or width < 1:
        raise section.error(f"`size` {size} is larger than the padded input of {_pixels(shape)} pixels")
    return Shape(shape.channels, height, width)


def _maxpool(section: Section, graph: _Graph) -> Layer:
    source = len(graph.layers) - 1
    shape = graph.shape(source, section)
    stride = section.integer("stride", 1, minimum=1)
    size = section.integer("size", stride, minimum=1)
    padding = section.integer("padding", size - 1, minimum=0)
    if padding > 2 * (size - 1):
        raise section.error(f"`padding` {padding} leaves windows without a pixel, expected at most {2 * (size - 1)}")
    output = _windows(section, shape, size, stride, padding)
    return Layer(MaxPool(size=size, stride=stride, padding=padding), (source,), output)


def _upsample(section: Section, graph: _Graph) -> Layer:
    source = len(graph.layers) - 1
    channels, height, width = graph.shape(source, section)
    stride = section.integer("stride", 2, minimum=1)
    module = nn.Upsample(scale_factor=stride, mode="nearest")
    return Layer(module, (source,), Shape(channels, height * stride, width * stride))


def _dropout(section: Section, graph: _Graph) -> Layer:
    source = len(graph.layers) - 1
    probability = section.number("probability", 0.2)
    if not 0 <= probability < 1:
        raise section.error(f"`probability` is {probability}, expected at least 0 and less than 1")
    return Layer(nn.Dropout(probability), (source,), graph.shape(source, section))


def _route(section: Section, graph: _Graph) -> Layer:
    sources = graph.sources(section, "layers")
    shapes = [graph.shape(source, section) for source in sources]
    groups = section.integer("groups", 1, minimum=1)
    group_id = section.integer("group_id", 0, minimum=0)
    if group_id >= groups:
        raise section.error(f"`group_id` {group_id} is out of range, expected less than `groups` {groups}")
    for source, shape in zip(sources, shapes, strict=True):
        if shape.channels % groups:
            raise section.error(f"`groups` {groups} does not divide the {shape.channels} channels of layer {source}")
        if shape[1:] != shapes[0][1:]:
            raise section.error(
                f"layer {sources[0]} has {_pixels(shapes[0])} pixels and layer {source} has {_pixels(shape)}"
            )
    channels = sum(shape.channels for shape in shapes) // groups
    return Layer(Route(groups=groups, group_id=group_id), sources, shapes[0]._replace(channels=channels))


def _shortcut(section: Section, graph: _Graph) -> Layer:
    previous = len(graph.layers) - 1
    sources = (previous, *graph.sources(section, "from"))
    if section.text("weights_type", "none") != "none":
        raise section.error("`weights_type` is not supported, expected none")
    shapes = [graph.shape(source, section) for source in sources]
    for source, shape in zip(sources, shapes, strict=True):
        if shape != shapes[0]:
            raise section.error(
                f"layer {previous} has {shapes[0].channels} channels of {_pixels(shapes[0])} pixels "
                f"and layer {source} has {shape.channels} of {_pixels(shape)}"
            )
    return Layer(Shortcut(_activation(section, "linear")), sources, shapes[0])


def _yolo(section: Section, graph: _Graph) -> Layer:
    source = len(graph.layers) - 1
    shape = graph.shape(source, section)
    if source == IMAGE or graph.sections[source].name != "convolutional":
        raise section.error("the layer before it must be [convolutional]")
    mask = _mask(section)
    sides = section.numbers("anchors")
    if len(sides) % 2 or min(sides) <= 0:
        raise section.error(f"`anchors` must be pairs of positive numbers, found {section.text('anchors')}")
    anchors = list(zip(sides[::2], sides[1::2], strict=True))
    count = min(len(anchors), section.integer("num", len(anchors), minimum=1))
    for index in mask:
        if not 0 <= index < count:
            raise section.error(f"`mask` {index} is out of range, expected 0 to {count - 1}")
    classes = section.integer("classes", 20, minimum=1)
    filters = len(mask) * (5 + classes)
    if shape.channels != filters:
        raise graph.sections[source].error(
            f"`filters` is {shape.channels}, but the [yolo] after it needs {filters}: "
            f"{len(mask)} anchors x (5 + {classes} classes)"
        )
    module = Yolo(
        [anchors[index] for index in mask],
        stride=graph.image.height // shape.height,
        classes=classes,
        scale_x_y=section.number("scale_x_y", 1.0),
        ignore_thresh=section.number("ignore_thresh", 0.5),
    )
    return Layer(module, (source,), shape)


def _mask(section: Section) -> Sequence[int]:
    """Which anchors this head uses: all `num` of them unless the section says otherwise."""
    if "mask" in section.options:
        return section.integers("mask")
    return range(section.integer("num", 1, minimum=1))


def _pixels(shape: Shape) -> str:
    return f"{shape.width}x{shape.height}"


_BUILDERS: dict[str, Callable[[Section, _Graph], Layer]] = {
    "convolutional": _convolutional,
    "maxpool": _maxpool,
    "upsample": _upsample,
    "route": _route,
    "shortcut": _shortcut,
    "dropout": _dropout,
    "yolo": _yolo,
}
