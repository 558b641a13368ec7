"""The detector: Darknet's layers wired by their graph, from images to raw head outputs to boxes.

Suppression of overlapping boxes, losses and attacks live elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robustprune.core.errors import InputError
from robustprune.detection.anchors.detector import AnchorDetector
from robustprune.detection.anchors.heads import Head
from robustprune.detection.darknet import cfg
from robustprune.detection.darknet.build import build_layers
from robustprune.detection.darknet.build_heads import with_classes
from robustprune.detection.darknet.cfg import Section
from robustprune.detection.darknet.ends import suppression_of
from robustprune.detection.darknet.layers import Convolutional, Yolo
from robustprune.inference.graph import last_reads, run

# sigmoid(-4) = 0.018: nearly every box is background, so an untrained detector should say so.
_INITIAL_OBJECTNESS = -4.0


class Detector(AnchorDetector):
    """A Darknet detector.

    The graph is explicit: `layers[i]` is the module of the i-th section after `[net]` and `inputs[i]` the
    indices of the layers that feed it, -1 being the image. `sections` are the .cfg's, `[net]` first, and so
    one longer. `stride` is what both sides of an image must be divisible by, in pixels; `image_size` the
    (height, width) that the .cfg names, which is a default and no limit. `weights_header` is that of the
    .weights file (major, minor, revision, images seen).
    """

    def __init__(self, sections: Sequence[Section]) -> None:
        """Raises `InputError` for a section that cannot be built; weights come from torch's generator."""
        super().__init__()
        net = sections[0]
        layers = build_layers(sections)
        self.sections = tuple(sections)
        self.layers = nn.ModuleList(layer.module for layer in layers)
        self.inputs = tuple(layer.inputs for layer in layers)
        self.image_size = (net.integer("height", minimum=1), net.integer("width", minimum=1))
        self.stride = int(max(layer.stride for layer in layers))
        self.channels = net.integer("channels", minimum=1)
        self.suppression = suppression_of(sections)
        self.weights_header = (0, 2, 5, 0)
        self._last_reads = last_reads(
            self.inputs, kept=[i for i, layer in enumerate(self.layers) if isinstance(layer, Yolo)]
        )
        for index in self._head_sources():
            _initialise_head(self.layers[index], self.layers[index + 1])

    @classmethod
    def from_cfg(cls, path_or_name: str | os.PathLike[str], *, classes: int | None = None) -> Detector:
        """Build from a .cfg file or a bundled name.

        `classes` replaces the number of classes in the .cfg, in each head and the convolution before it.
        """
        sections = cfg.read(path_or_name)
        return cls(sections if classes is None else with_classes(sections, classes))

    @property
    def heads(self) -> tuple[Head, ...]:
        """The scales, in the order of `forward`'s outputs."""
        return tuple(
            Head(layer.anchors, layer.stride, layer.classes, layer.scale_x_y, layer.ignore_thresh, layer.softmax)
            for layer in self.layers
            if isinstance(layer, Yolo)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw outputs (before any sigmoid or exp), one per head.

        Shape:
            - images: (N, channels, H, W) in [0, 1], H and W divisible by `stride`
            - returns: (N, anchors, grid_h, grid_w, 5 + classes) each; x, y, w, h, objectness, classes
        """
        check_images(images, channels=self.channels, stride=self.stride)
        outputs = run(self.layers, self.inputs, self._last_reads, images)
        return [outputs[index] for index, layer in enumerate(self.layers) if isinstance(layer, Yolo)]

    @property
    def head_layers(self) -> frozenset[str]:
        """Names of the convolutions that feed a head."""
        return frozenset(f"layers.{index}.conv" for index in self._head_sources())

    def _head_sources(self) -> set[int]:
        return {inputs[0] for layer, inputs in zip(self.layers, self.inputs, strict=True) if isinstance(layer, Yolo)}


def build(sections: Sequence[Section]) -> Detector:
    """The detector that the sections of a .cfg describe; raises `InputError` if they describe none."""
    return Detector(sections)


def check_images(images: Tensor, *, channels: int, stride: int) -> None:
    """Raise `InputError` unless images, (N, C, H, W), have so many channels and sides divisible by `stride`."""
    found, height, width = images.shape[1:]
    if found != channels:
        raise InputError(f"images have {found} channels, the .cfg's [net] expects {channels}")
    if height % stride or width % stride:
        raise InputError(f"images are {width}x{height} pixels, expected multiples of {stride}")


def _initialise_head(convolutional: nn.Module, yolo: nn.Module) -> None:
    """Start from flat scores, boxes of the anchors' size and low objectness."""
    assert isinstance(convolutional, Convolutional)
    assert isinstance(yolo, Yolo)
    if not convolutional.conv.weight.is_meta:  # see `Convolutional`
        nn.init.normal_(convolutional.conv.weight, std=0.01)
    bias = convolutional.conv.bias
    if bias is not None:
        with torch.no_grad():
            bias.view(len(yolo.anchors), -1)[:, 4] = _INITIAL_OBJECTNESS
