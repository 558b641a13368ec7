"""The loss the reference study trains and attacks with: 0.05 · CIoU + objectness + 0.5 · class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot
from torchvision.ops import box_convert, complete_box_iou_loss

from robustprune.detection.heads import MAX_SIZE_LOGIT, Head
from robustprune.detection.losses.assignment import Assignment

BOX_WEIGHT, OBJECTNESS_WEIGHT, CLASS_WEIGHT = 0.05, 1.0, 0.5


def ciou(outputs: Sequence[Tensor], assignments: Sequence[Assignment], heads: Sequence[Head]) -> Tensor:
    """Return the loss of a batch, a scalar ≥ 0, summed over heads.

    Box: 1 − CIoU over positive anchors (Zheng et al. 2020; its α carries no gradient). Objectness: binary
    cross-entropy over all anchors, the target of a positive one being its CIoU clamped to [0, 1]. Class: binary
    cross-entropy over positive anchors. Each term is a mean, so loss(clean) + loss(attacked) of one batch is the
    sum of two calls with the same assignments.

    Args:
        outputs: raw head outputs, each (N, anchors, grid, grid, 5 + classes).
        assignments: of the same images, one per head.
        heads: the detector's heads.
    """
    total = outputs[0].new_zeros(())
    for output, positive, head in zip(outputs, assignments, heads, strict=True):
        objectness = output[..., 4]
        target = torch.zeros_like(objectness)
        if positive.image.numel():
            predicted = output[positive.image, positive.anchor, positive.row, positive.column]
            centre = predicted[:, :2].sigmoid() * head.scale_x_y - (head.scale_x_y - 1) / 2
            size = head.anchors[positive.anchor] / head.stride * predicted[:, 2:4].clamp(max=MAX_SIZE_LOGIT).exp()
            boxes = torch.cat([centre, size], dim=1)
            cell = torch.stack([positive.column, positive.row], dim=1)
            wanted = torch.cat([positive.boxes[:, :2] - cell, positive.boxes[:, 2:]], dim=1)
            box_loss = complete_box_iou_loss(_corners(boxes), _corners(wanted), reduction="none")
            total = total + BOX_WEIGHT * box_loss.mean()
            classes = one_hot(positive.classes, head.classes).to(predicted)
            total = total + CLASS_WEIGHT * binary_cross_entropy_with_logits(predicted[:, 5:], classes)
            # Two objects can share an anchor; the better box sets the target, in any order of execution.
            _, anchor_count, rows, columns = objectness.shape
            index = (positive.image * anchor_count + positive.anchor) * rows + positive.row
            index = index * columns + positive.column
            quality = (1 - box_loss.detach()).clamp(0, 1)
            target = target.flatten().scatter_reduce(0, index, quality, "amax").view_as(objectness)
        total = total + OBJECTNESS_WEIGHT * binary_cross_entropy_with_logits(objectness, target)
    return total


def _corners(boxes: Tensor) -> Tensor:
    corners: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return corners
