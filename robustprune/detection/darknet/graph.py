"""The layers of a detector as they are put together: who feeds whom, and the shapes that follow.

What the sections of a .cfg mean is told in `build.py` and, for heads, in `build_heads.py`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from torch import nn

from robustprune.detection.darknet.cfg import Section
from robustprune.inference.graph import IMAGE

HEADS = ("yolo", "region")
"""The sections that detect, and feed no layer."""


class Shape(NamedTuple):
    """Size of one layer's output for one image."""

    channels: int
    height: int
    width: int

    @property
    def pixels(self) -> str:
        """Width and height as people write them."""
        return f"{self.width}x{self.height}"


class Layer(NamedTuple):
    """A module and its place in the graph.

    `inputs` are the indices of the layers that feed it (`IMAGE` for the input), `shape` is its output's, and `stride`
    the side, in pixels of the image, of what one cell of the output stands for.
    """

    module: nn.Module
    inputs: tuple[int, ...]
    shape: Shape
    stride: Fraction


class Graph:
    """The layers built so far with their sections, and the reading of references to them."""

    def __init__(self, image: Shape) -> None:
        """Start from the shape of the image."""
        self.image = image
        self.layers: list[Layer] = []
        self.sections: list[Section] = []

    @property
    def last(self) -> int:
        """Index of the latest layer, which feeds the next one unless that says otherwise."""
        return len(self.layers) - 1

    def shape(self, index: int, reader: Section) -> Shape:
        """Output shape of a layer; raises `InputError` about the section `reader` if that layer is a head."""
        if index == IMAGE:
            return self.image
        name = self.sections[index].name
        if name in HEADS:
            raise reader.error(f"it reads layer {index}, which is a [{name}] head and feeds no layer")
        return self.layers[index].shape

    def stride(self, index: int) -> Fraction:
        """Stride of a layer, or of the image."""
        return Fraction(1) if index == IMAGE else self.layers[index].stride

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

    def add(self, section: Section, layer: Layer) -> None:
        """Append the layer that a section has become."""
        self.layers.append(layer)
        self.sections.append(section)
