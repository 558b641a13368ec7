"""CenterNet: features of a backbone brought up to one map, and heads that read an object at each of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from robustprune.detection.centernet.backbones.given import load_backbone
from robustprune.detection.centernet.backbones.layers import convolution
from robustprune.detection.centernet.loss import POINTS, PointLoss
from robustprune.detection.centernet.targets import CELL, Targets, encode
from robustprune.detection.detector import Candidates, Detector
from robustprune.detection.image_size import ImageSize, sides
from robustprune.detection.losses import LOSSES

INITIAL_HEAT = -2.19
"""The logit of .1: nearly every cell is empty, so an untrained detector should say so."""


ROUNDING = 1e-4
"""Part of a probability by which engines may differ."""


class Backbone(Protocol):
    """From images to maps of features, whose cells are 4, 8, 16 … pixels wide.

    Attributes:
        widths: the channels of each map.
    """

    widths: Sequence[int]

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        """Return the maps, the finest first."""


class CenterNet(Detector):
    """A detector that finds objects as peaks of a heat map, so that no box suppresses another.

    Raw outputs are the heat map's logits (N, classes, H/4, W/4), and offsets and sizes (N, 2, H/4, W/4) in cells.
    """

    family = POINTS
    loss_name: str = "focal"
    suppression = None

    def __init__(self, backbone: nn.Module, *, classes: int, hidden: int, image_size: ImageSize) -> None:
        """Take weights from torch's generator.

        Args:
            backbone: a `Backbone`.
            classes: how many it tells apart.
            hidden: channels within each head.
            image_size: that it is made for.
        """
        super().__init__()
        widths = list(cast(Backbone, backbone).widths)
        self.classes = classes
        self.image_size = sides(image_size)
        self.stride = CELL * 2 ** (len(widths) - 1)
        self.backbone = backbone
        self.merges = nn.ModuleList(
            Merge(deep, shallow) for deep, shallow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.heat = _head(widths[0], hidden, classes)
        self.offset = _head(widths[0], hidden, 2)
        self.size = _head(widths[0], hidden, 2)
        nn.init.constant_(self.heat[-1].bias, INITIAL_HEAT)  # type: ignore[arg-type]

    @property
    def cell(self) -> int:
        """Side of a cell of the heat map, in pixels."""
        return CELL

    @property
    def head_layers(self) -> frozenset[str]:
        """Names of the last convolutions of the heads."""
        return frozenset({"heat.2", "offset.2", "size.2"})

    def take_backbone(self, path: Path) -> None:
        """Let the backbone start from weights for ImageNet; see `backbones.given`."""
        load_backbone(self.backbone, path)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return raw outputs of images (N, channels, H, W) in [0, 1]."""
        maps = self.backbone(images)
        features = maps[-1]
        for merge, finer in zip(self.merges, maps[-2::-1], strict=True):
            features = merge(features, finer)
        return [self.heat(features), self.offset(features), self.size(features)]

    def targets(self, objects: Tensor, image_size: ImageSize, *, images: int) -> Targets:
        """Return the heat maps wanted, and what is to be read at centres."""
        height, width = sides(image_size)
        return encode(
            objects,
            images=images,
            classes=self.classes,
            rows=height // CELL,
            columns=width // CELL,
            radius=self._own_loss.radius,
        )

    def loss(self, outputs: Sequence[Tensor], targets: Targets, *, per_image: bool = False) -> Tensor:
        """Return the loss of a batch, or of each of its images."""
        return self._own_loss(outputs, targets, per_image=per_image)

    def decode(self, outputs: Sequence[Tensor], image_size: ImageSize) -> Tensor:
        """Return a box per cell, (N, H/4 · W/4, 5 + classes); its classes are those of which the cell is a peak.

        A peak is as probable as any of the 3 × 3 cells around it. Objectness is 1 where a cell is any peak, else 0.
        """
        probabilities = outputs[0].sigmoid()
        peaks = probabilities == nn.functional.max_pool2d(probabilities, 3, stride=1, padding=1)
        scores = (probabilities * peaks).flatten(2).movedim(1, 2)
        there = (scores.amax(dim=2, keepdim=True) > 0).to(scores)
        return torch.cat([self._boxes(outputs, image_size), there, scores], dim=2)

    def near_ties(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return where a cell is a peak by next to nothing, or is none by that."""
        probabilities = outputs[0].sigmoid()
        rows, columns = probabilities.shape[2:]
        around = nn.functional.pad(probabilities, (1, 1, 1, 1))
        neighbours = [
            around[:, :, row : row + rows, column : column + columns]
            for row in range(3)
            for column in range(3)
            if (row, column) != (1, 1)
        ]
        gap = (probabilities - torch.stack(neighbours).amax(dim=0)).abs()
        of_classes = (gap <= ROUNDING * probabilities).flatten(2).movedim(1, 2)
        of_boxes = torch.zeros_like(of_classes[..., :1]).expand(-1, -1, 4)
        return torch.cat([of_boxes, of_classes.any(dim=2, keepdim=True), of_classes], dim=2)

    def candidates(self, outputs: Sequence[Tensor], image_size: ImageSize) -> list[Candidates]:
        """Return a box per cell, be it a peak or not: where one is lost, a neighbour takes its place."""
        logits = outputs[0].flatten(2).movedim(1, 2)
        return [Candidates(self._boxes(outputs, image_size), logits.amax(dim=2).sigmoid(), logits)]

    def answers(self, outputs: Sequence[Tensor], targets: Targets) -> Tensor:
        """Return the sum of the heat map's logits at the centres of each image's objects, (N,)."""
        logits = outputs[0][targets.image, targets.classes, targets.row, targets.column]
        return logits.new_zeros(len(outputs[0])).index_add(0, targets.image, logits)

    @property
    def _own_loss(self) -> PointLoss:
        found = LOSSES[self.loss_name].provides
        assert isinstance(found, PointLoss)
        return found

    @staticmethod
    def _boxes(outputs: Sequence[Tensor], image_size: ImageSize) -> Tensor:
        """Return the box of each cell: cx, cy, w, h in pixels, (N, cells, 4)."""
        _, offset, size = outputs
        height, width = sides(image_size)
        rows, columns = offset.shape[2:]
        # Each by itself: a map of both would be part of every exported program.
        x = offset[:, 0] + torch.arange(columns, device=offset.device, dtype=offset.dtype)
        y = offset[:, 1] + torch.arange(rows, device=offset.device, dtype=offset.dtype)[:, None]
        across, down = width / columns, height / rows
        found = torch.stack([x * across, y * down, size[:, 0] * across, size[:, 1] * down], dim=3)
        return found.flatten(1, 2)


class Merge(nn.Module):
    """Coarse features brought to twice as many cells a side, and added to those that are there; as in DLA's up-path,
    with plain convolutions in place of deformable ones.
    """

    def __init__(self, deep: int, shallow: int) -> None:
        """From `deep` channels to `shallow` ones."""
        super().__init__()
        self.project = convolution(deep, shallow, size=1)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.node = convolution(shallow, shallow)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return (N, shallow, H, W) from (N, deep, H/2, W/2) and (N, shallow, H, W)."""
        merged: Tensor = self.node(fine + self.up(self.project(coarse)))
        return merged


def _head(channels: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, outputs, 1))
