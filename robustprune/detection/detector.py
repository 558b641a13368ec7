"""What a detector is to everything that is not its network: raw head outputs, and what these mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from robustprune.detection.heads import Head, decode_head
from robustprune.detection.image_size import ImageSize
from robustprune.structures.groups import Layer


class Suppression(NamedTuple):
    """How much two boxes overlap: by IoU, or less the further their centres are apart; see `measure.suppression`."""

    kind: Literal["greedy", "diou"]
    beta: float = 0.6


GREEDY = Suppression("greedy")


class AnchorDetector(nn.Module):
    """A detector of one stage: heads of several scales, each with anchors in every cell of a grid.

    A network of another family derives from this class, and fills in `heads`, `head_layers` and `forward`.

    Attributes:
        channels: of an image.
        stride: what both sides of an image must be divisible by, in pixels.
        image_size: (height, width) that it was made for, which is a default and no limit.
        suppression: how overlapping boxes are told.
    """

    channels: int = 3
    stride: int
    image_size: tuple[int, int]
    suppression: Suppression = GREEDY

    @property
    def heads(self) -> tuple[Head, ...]:
        """The scales, in the order of `forward`'s outputs."""
        raise NotImplementedError

    @property
    def head_layers(self) -> frozenset[str]:
        """Names of the layers that give the raw outputs."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw outputs (before any sigmoid or exp), one per head.

        Shape:
            - images: (N, channels, H, W) in [0, 1], H and W divisible by `stride`
            - returns: (N, anchors, grid_h, grid_w, 5 + classes) each; x, y, w, h, objectness, classes
        """
        raise NotImplementedError

    def decode(self, outputs: Sequence[Tensor], image_size: ImageSize) -> Tensor:
        """Boxes of all scales from `forward`'s outputs.

        Shape:
            - image_size: side of the square images given to `forward`, or their (height, width), in pixels
            - returns: (N, boxes, 5 + classes); cx, cy, w, h in pixels of the network input, objectness and
              class probabilities; ordered by scale, anchor, row, column
        """
        boxes = [
            decode_head(output, head, image_size).flatten(1, 3)
            for output, head in zip(outputs, self.heads, strict=True)
        ]
        return torch.cat(boxes, dim=1)

    def prunable_layers(self, *, heads: bool = False) -> dict[str, Layer]:
        """Convolutions and fully connected layers by name, in the network's order; `heads` adds those of the heads."""
        spared = frozenset() if heads else self.head_layers
        return {
            name: module
            for name, module in self.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear) and name not in spared
        }
