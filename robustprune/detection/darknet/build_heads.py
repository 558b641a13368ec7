"""`[yolo]` and `[region]` sections to heads, and the same detector for another number of classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import nn

from robustprune.detection.darknet.cfg import Section
from robustprune.detection.darknet.graph import HEADS, Graph, Layer
from robustprune.detection.darknet.layers import Convolutional, Yolo
from robustprune.inference.graph import IMAGE


def build_yolo(section: Section, graph: Graph) -> Layer:
    """The head that a [yolo] describes; raises `InputError` if it does not fit the convolution before it."""
    anchors = _anchors(section)
    classes, stride = _checked(section, graph, len(anchors))
    module = Yolo(
        anchors,
        stride=stride,
        classes=classes,
        scale_x_y=section.number("scale_x_y", 1.0),
        ignore_thresh=section.number("ignore_thresh", 0.5),
        new_coords=_new_coords(section, graph),
    )
    return _head(module, graph)


def build_region(section: Section, graph: Graph) -> Layer:
    """The head that a [region], YOLOv2's, describes: its anchors are in cells, and a softmax may go over classes.

    Raises `InputError` if it does not fit the convolution before it.
    """
    anchors = _region_anchors(section)
    classes, stride = _checked(section, graph, len(anchors))
    module = Yolo(
        [(width * stride, height * stride) for width, height in anchors],
        stride=stride,
        classes=classes,
        scale_x_y=1.0,
        ignore_thresh=section.number("thresh", 0.5),
        softmax=bool(section.integer("softmax", 0, minimum=0)),
    )
    return _head(module, graph)


def _head(module: Yolo, graph: Graph) -> Layer:
    return Layer(module, (graph.last,), graph.layers[-1].shape, graph.stride(graph.last))


def _checked(section: Section, graph: Graph, anchors: int) -> tuple[int, int]:
    """Number of classes, and side of a cell in pixels, of a head with so many anchors."""
    source = graph.last
    shape = graph.shape(source, section)
    if source == IMAGE or graph.sections[source].name != "convolutional":
        raise section.error("the layer before it must be [convolutional]")
    classes = _classes(section, graph)
    filters = anchors * (5 + classes)
    if shape.channels != filters:
        raise graph.sections[source].error(
            f"`filters` is {shape.channels}, but the [{section.name}] after it needs {filters}: "
            f"{anchors} anchors x (5 + {classes} classes)"
        )
    stride = graph.stride(source)
    if stride.denominator != 1:
        raise section.error(f"its grid of {shape.pixels} cells is finer than the image of {graph.image.pixels} pixels")
    return classes, int(stride)


def classes_of(sections: Sequence[Section]) -> int:
    """How many classes the heads of a .cfg tell apart."""
    return next(_number_of_classes(section) for section in sections if section.name in HEADS)


def with_classes(sections: Sequence[Section], classes: int) -> tuple[Section, ...]:
    """The same detector for another number of classes: every head and the convolution that feeds it."""
    rewritten = list(sections)
    for index, section in enumerate(sections):
        if section.name in HEADS:
            filters = len(_mask(section)) * (5 + classes)
            rewritten[index] = _with_option(section, "classes", classes)
            rewritten[index - 1] = _with_option(sections[index - 1], "filters", filters)
    return tuple(rewritten)


def _with_option(section: Section, key: str, value: int) -> Section:
    return dataclasses.replace(section, options={**section.options, key: str(value)})


def _number_of_classes(section: Section) -> int:
    return section.integer("classes", 20, minimum=1)


def _classes(section: Section, graph: Graph) -> int:
    classes = _number_of_classes(section)
    for layer in graph.layers:
        if isinstance(layer.module, Yolo) and layer.module.classes != classes:
            raise section.error(f"`classes` is {classes}, but {layer.module.classes} in the head before it")
    return classes


def _anchors(section: Section) -> list[tuple[float, float]]:
    """(width, height) of the anchors that this head uses."""
    anchors = _pairs(section)
    count = min(len(anchors), section.integer("num", len(anchors), minimum=1))
    mask = _mask(section)
    for index in mask:
        if not 0 <= index < count:
            raise section.error(f"`mask` {index} is out of range, expected 0 to {count - 1}")
    return [anchors[index] for index in mask]


def _region_anchors(section: Section) -> list[tuple[float, float]]:
    """(width, height) of the anchors of a [region], in cells; half a cell where it names none, as in Darknet."""
    count = len(_mask(section))
    anchors = _pairs(section) if "anchors" in section.options else [(0.5, 0.5)] * count
    if len(anchors) < count:
        raise section.error(f"`anchors` has {len(anchors)} pairs, expected `num` {count}")
    return anchors[:count]


def _pairs(section: Section) -> list[tuple[float, float]]:
    sides = section.numbers("anchors")
    if len(sides) % 2 or min(sides) <= 0:
        raise section.error(f"`anchors` must be pairs of positive numbers, found {section.text('anchors')}")
    return list(zip(sides[::2], sides[1::2], strict=True))


def _mask(section: Section) -> Sequence[int]:
    """Which anchors this head uses: all `num` of them unless it is a [yolo] that says otherwise."""
    if section.name == "yolo" and "mask" in section.options:
        return section.integers("mask")
    return range(section.integer("num", 1, minimum=1))


def _new_coords(section: Section, graph: Graph) -> bool:
    """Whether the convolution before the head applies the logistic function to all that the head reads.

    If so, that activation is taken out of the convolution: everywhere here, a head's raw numbers are those before it.
    """
    if not section.integer("new_coords", 0, minimum=0):
        return False
    activation = graph.sections[-1].text("activation", "logistic")
    if activation != "logistic":
        raise section.error(
            f"`new_coords` needs a [convolutional] with activation=logistic before it, not {activation}"
        )
    convolutional = graph.layers[-1].module
    assert isinstance(convolutional, Convolutional)
    convolutional.activation = nn.Identity()
    return True
