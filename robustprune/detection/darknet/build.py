"""Sections to layers: what each Darknet section means, and every complaint about one.

Shapes are followed at the .cfg's own image size, so that a wrong file is refused before anything is trained. Options
that matter in Darknet's own training alone (jitter, learning rates, ...) are passed over, those that would change
what a detector answers are implemented or refused. Heads are built in `build_heads.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from robustprune.detection.darknet.build_heads import build_region, build_yolo
from robustprune.detection.darknet.cfg import Section
from robustprune.detection.darknet.graph import HEADS, Graph, Layer, Shape
from robustprune.detection.darknet.layers import (
    ACTIVATIONS,
    AveragePool,
    Convolutional,
    MaxPool,
    Product,
    Reorg,
    Route,
    Shortcut,
)

# Options that change the result and are not implemented, with the value under which they do nothing, None if none.
_NEUTRAL_ANYWHERE: dict[str, int | None] = {"dontload": 0, "dontloadscales": 0}
_NEUTRAL: dict[str, dict[str, int | None]] = {
    "convolutional": {
        **dict.fromkeys(("stride_x", "stride_y", "share_index"), None),
        **dict.fromkeys(("antialiasing", "binary", "xnor", "bin_output", "cbn", "coordconv", "flipped"), 0),
        **dict.fromkeys(("reverse", "rotate", "stretch", "stretch_sway", "sway", "deform"), 0),
        "dilation": 1,
    },
    "maxpool": {"stride_x": None, "stride_y": None, "antialiasing": 0, "maxpool_depth": 0},
    # In the original's old files `background` is a class of its own; `tree` and `map` are YOLO9000's.
    "region": {"coords": 4, "background": 0, "classfix": 0, "tree": None, "map": None},
    "reorg": {"reverse": 0, "flatten": 0, "extra": 0},
    "scale_channels": {"scale_wh": 0},
    "shortcut": {"alpha": 1, "beta": 1},
    "upsample": {"scale": 1},
    "yolo": {"map": None},
}


def build_layers(sections: Sequence[Section]) -> list[Layer]:
    """One layer per section after `[net]`, at the same index.

    Raises `InputError`, naming file, line and section, for whatever is unsupported or inconsistent.
    """
    net, *rest = sections
    graph = Graph(Shape(*(net.integer(key, minimum=1) for key in ("channels", "height", "width"))))
    for section in rest:
        if section.name not in _BUILDERS:
            supported = ", ".join(f"[{name}]" for name in _BUILDERS)
            raise section.error(f"unsupported section, expected one of {supported}")
        _check_options(section)
        graph.add(section, _BUILDERS[section.name](section, graph))
    if not any(section.name in HEADS for section in rest):
        raise net.error("the file has no [yolo] section and no [region], so nothing would be detected")
    return graph.layers


def _check_options(section: Section) -> None:
    for key, neutral in (_NEUTRAL_ANYWHERE | _NEUTRAL.get(section.name, {})).items():
        if key not in section.options:
            continue
        if neutral is None:
            raise section.error(f"`{key}` is not supported")
        if section.number(key, neutral) != neutral:
            raise section.error(f"`{key}` {section.text(key)} is not supported, expected {neutral}")


def _activation(section: Section, default: str) -> str:
    name = section.text("activation", default)
    if name not in ACTIVATIONS:
        raise section.error(f"unknown activation {name!r}, expected one of {', '.join(ACTIVATIONS)}")
    return name


def _convolutional(section: Section, graph: Graph) -> Layer:
    shape = graph.shape(graph.last, section)
    filters = section.integer("filters", 1, minimum=1)
    size = section.integer("size", 1, minimum=1)
    stride = section.integer("stride", 1, minimum=1)
    groups = section.integer("groups", 1, minimum=1)
    if shape.channels % groups or filters % groups:
        raise section.error(
            f"`groups` {groups} does not divide both {shape.channels} input channels and {filters} filters"
        )
    batch_normalize = section.integer("batch_normalize", 0, minimum=0)
    if batch_normalize > 1:
        # Batch norm across several batches, in AlexeyAB's engine.
        raise section.error(f"`batch_normalize` {batch_normalize} is not supported, expected 0 or 1")
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
        batch_normalize=bool(batch_normalize),
        activation=_activation(section, "logistic"),
    )
    return Layer(module, (graph.last,), output, graph.stride(graph.last) * stride)


def _windows(section: Section, shape: Shape, size: int, stride: int, padding: int) -> Shape:
    """Shape of one value per window, `padding` being the total of both sides."""
    height, width = ((side + padding - size) // stride + 1 for side in (shape.height, shape.width))
    if height < 1 or width < 1:
        raise section.error(f"`size` {size} is larger than the padded input of {shape.pixels} pixels")
    return Shape(shape.channels, height, width)


def _maxpool(section: Section, graph: Graph) -> Layer:
    shape = graph.shape(graph.last, section)
    stride = section.integer("stride", 1, minimum=1)
    size = section.integer("size", stride, minimum=1)
    padding = section.integer("padding", size - 1, minimum=0)
    if padding > 2 * (size - 1):
        raise section.error(f"`padding` {padding} leaves windows without a pixel, expected at most {2 * (size - 1)}")
    output = _windows(section, shape, size, stride, padding)
    module = MaxPool(size=size, stride=stride, padding=padding)
    return Layer(module, (graph.last,), output, graph.stride(graph.last) * stride)


def _avgpool(section: Section, graph: Graph) -> Layer:
    # One number for all of the image, whatever its size: no stride of its own.
    output = graph.shape(graph.last, section)._replace(height=1, width=1)
    return Layer(AveragePool(), (graph.last,), output, graph.stride(graph.last))


def _upsample(section: Section, graph: Graph) -> Layer:
    channels, height, width = graph.shape(graph.last, section)
    stride = section.integer("stride", 2, minimum=1)
    module = nn.Upsample(scale_factor=stride, mode="nearest")
    output = Shape(channels, height * stride, width * stride)
    return Layer(module, (graph.last,), output, graph.stride(graph.last) / stride)


def _dropout(section: Section, graph: Graph) -> Layer:
    probability = section.number("probability", 0.2)
    if not 0 <= probability < 1:
        raise section.error(f"`probability` is {probability}, expected at least 0 and less than 1")
    shape = graph.shape(graph.last, section)
    return Layer(nn.Dropout(probability), (graph.last,), shape, graph.stride(graph.last))


def _route(section: Section, graph: Graph) -> Layer:
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
                f"layer {sources[0]} has {shapes[0].pixels} pixels and layer {source} has {shape.pixels}"
            )
    channels = sum(shape.channels for shape in shapes) // groups
    module = Route(groups=groups, group_id=group_id)
    return Layer(module, sources, shapes[0]._replace(channels=channels), graph.stride(sources[0]))


def _shortcut(section: Section, graph: Graph) -> Layer:
    sources = (graph.last, *graph.sources(section, "from"))
    if section.text("weights_type", "none") != "none":
        raise section.error("`weights_type` is not supported, expected none")
    first, *others = (graph.shape(source, section) for source in sources)
    for source, shape in zip(sources[1:], others, strict=True):
        if not _is_strided_evenly(shape, first) or (len(others) > 1 and shape[1:] != first[1:]):
            raise section.error(f"layer {graph.last} has {first.pixels} pixels and layer {source} has {shape.pixels}")
    strided = any(shape[1:] != first[1:] for shape in others)
    module = Shortcut(_activation(section, "linear"), strided=strided)
    return Layer(module, sources, first, graph.stride(graph.last))


def _is_strided_evenly(one: Shape, other: Shape) -> bool:
    """Whether Darknet adds two layers: whole strides, and the same in both directions, as `shortcut_cpu` asserts."""
    return (one.width // other.width, other.width // one.width) == (
        one.height // other.height,
        other.height // one.height,
    )


def _reorg(section: Section, graph: Graph) -> Layer:
    channels, height, width = shape = graph.shape(graph.last, section)
    stride = section.integer("stride", 1, minimum=1)
    if height % stride or width % stride or channels % stride**2:
        raise section.error(
            f"`stride` {stride} does not divide {shape.pixels} pixels, or its square not {channels} channels"
        )
    output = Shape(channels * stride**2, height // stride, width // stride)
    return Layer(Reorg(stride=stride), (graph.last,), output, graph.stride(graph.last) * stride)


def _product(section: Section, graph: Graph) -> Layer:
    """`[scale_channels]` multiplies a layer by a number per channel, `[sam]` by a number per value."""
    source, *others = graph.sources(section, "from")
    if others:
        raise section.error(f"`from` is {section.text('from')}, expected one layer")
    factor, shape = graph.shape(graph.last, section), graph.shape(source, section)
    expected = Shape(shape.channels, 1, 1) if section.name == "scale_channels" else shape
    if factor != expected:
        raise section.error(
            f"layer {graph.last} has {factor.channels} channels of {factor.pixels} pixels, "
            f"expected {expected.channels} of {expected.pixels} to multiply layer {source} by"
        )
    return Layer(Product(_activation(section, "linear")), (graph.last, source), shape, graph.stride(source))


_BUILDERS: dict[str, Callable[[Section, Graph], Layer]] = {
    "convolutional": _convolutional,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "upsample": _upsample,
    "reorg": _reorg,
    "route": _route,
    "shortcut": _shortcut,
    "scale_channels": _product,
    "sam": _product,
    "dropout": _dropout,
    "yolo": build_yolo,
    "region": build_region,
}
