"""SSDLite (Liu et al. 2016; Sandler et al. 2018) as torchvision has it: a detector of a family that nobody here knows.

A `Detector` is a module with `targets`, `loss` and `decode`. That is enough to train, attack, score, prune, measure and
keep it; `head_layers` spares the layers that give its raw outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robustprune.detection.detector import Detector
from robustprune.detection.image_size import ImageSize, sides
from robustprune.plugins import TaskEntry


class Targets(NamedTuple):
    """Of each image its boxes and labels, and which of them every default box answers for; and the default boxes."""

    objects: list[dict[str, Tensor]]
    matches: list[Tensor]
    defaults: Tensor


class SsdLite(Detector):
    """SSDLite on MobileNetV3; its loss is torchvision's own, and so are its default boxes and their coding."""

    stride = 32

    def __init__(self, *, classes: int, image_size: int) -> None:
        """Take weights from torch's generator."""
        from torchvision.models.detection import ssdlite320_mobilenet_v3_large

        super().__init__()
        self.image_size = (image_size, image_size)
        self.ssd = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes + 1)

    @property
    def head_layers(self) -> frozenset[str]:
        """Names of the convolutions that give the raw outputs: the last one of each block of both heads."""
        return frozenset(
            f"ssd.head.{head}.module_list.{number}.1"
            for head in ("classification_head", "regression_head")
            for number in range(6)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return offsets of default boxes, (N, K, 4), and logits of the background and of classes, (N, K, 1 + C)."""
        maps = list(self.ssd.backbone(images * 2 - 1).values())
        found = self.ssd.head(maps)
        return [found["bbox_regression"], found["cls_logits"]]

    def targets(self, objects: Tensor, image_size: ImageSize, *, images: int) -> Targets:
        """Match objects with default boxes."""
        from torchvision.ops import box_convert, box_iou

        height, width = sides(image_size)
        boxes = box_convert(objects[:, 2:] * objects.new_tensor([width, height] * 2), "cxcywh", "xyxy")
        defaults = self._defaults(image_size, like=objects)
        of_images = [objects[:, 0] == index for index in range(images)]
        each = [{"boxes": boxes[own], "labels": objects[own, 1].long() + 1} for own in of_images]
        none = torch.full((len(defaults),), -1, dtype=torch.int64, device=objects.device)
        matches = [
            self.ssd.proposal_matcher(box_iou(own["boxes"], defaults)) if len(own["boxes"]) else none for own in each
        ]
        return Targets(each, matches, defaults)

    def loss(self, outputs: Sequence[Tensor], targets: Targets, *, per_image: bool = False) -> Tensor:
        """Return smooth L1 of the boxes + cross-entropy of the classes, with hard negatives."""
        if per_image:
            parts = [
                Targets([own], [match], targets.defaults)
                for own, match in zip(targets.objects, targets.matches, strict=True)
            ]
            return torch.stack(
                [self.loss([output[index : index + 1] for output in outputs], part) for index, part in enumerate(parts)]
            )
        answers = {"bbox_regression": outputs[0], "cls_logits": outputs[1]}
        losses: dict[str, Tensor] = self.ssd.compute_loss(
            targets.objects, answers, [targets.defaults] * len(targets.objects), targets.matches
        )
        return losses["bbox_regression"] + losses["classification"]

    def decode(self, outputs: Sequence[Tensor], image_size: ImageSize) -> Tensor:
        """Return a box per default box: objectness is the probability that it is no background."""
        from torchvision.ops import box_convert

        offsets, logits = outputs
        defaults = self._defaults(image_size, like=offsets).repeat(len(offsets), 1)
        boxes = self.ssd.box_coder.decode_single(offsets.flatten(0, 1), defaults).view(offsets.shape)
        background, classes = logits.softmax(dim=2).split([1, logits.shape[2] - 1], dim=2)
        objectness = 1 - background
        found = [box_convert(boxes, "xyxy", "cxcywh"), objectness, classes / objectness.clamp(min=1e-6)]
        return torch.cat(found, dim=2)

    def _defaults(self, image_size: ImageSize, *, like: Tensor) -> Tensor:
        """Return the default boxes as corners in pixels, (K, 4): of six maps, each half as fine as the one before."""
        height, width = sides(image_size)
        grids = [[-(-side // 2**power) for side in (height, width)] for power in range(4, 10)]
        generator: Any = self.ssd.anchor_generator
        boxes = generator._grid_default_boxes(grids, [height, width]).to(like)
        centre, half = boxes[:, :2], boxes[:, 2:] / 2
        return torch.cat([centre - half, centre + half], dim=1) * like.new_tensor([width, height] * 2)


SSDLITE = TaskEntry(task="detection", provides=SsdLite)
