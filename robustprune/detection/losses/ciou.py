"""The loss the reference study trains and attacks with: 0.05 · CIoU + objectness + 0.5 · class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from robustprune.detection.anchors.heads import MAX_SIZE_LOGIT, Head
from robustprune.detection.losses.assignment import Assignment

BOX_WEIGHT, OBJECTNESS_WEIGHT, CLASS_WEIGHT = 0.05, 1.0, 0.5


def ciou(
    outputs: Sequence[Tensor], assignments: Sequence[Assignment], heads: Sequence[Head], *, per_image: bool = False
) -> Tensor:
    """Return the loss of a batch, a scalar ≥ 0, or that of each image as if it were the whole batch; summed over heads.

    Box: 1 − CIoU over positive anchors (Zheng et al. 2020; its α carries no gradient). Objectness: binary
    cross-entropy over all anchors, the target of a positive one being its CIoU clamped to [0, 1]. Class: binary
    cross-entropy over positive anchors; cross-entropy where a softmax goes over classes. Each term is a mean, so
    loss(clean) + loss(attacked) of one batch is the sum of two calls with the same assignments.

    Args:
        outputs: raw head outputs, each (N, anchors, grid, grid, 5 + classes).
        assignments: of the same images, one per head.
        heads: the detector's heads.
        per_image: take the means over the anchors of each image.

    Returns:
        a scalar, or (N,).
    """
    from torchvision.ops import complete_box_iou_loss  # takes as long to import as PyTorch; planning does without

    total = outputs[0].new_zeros(len(outputs[0]) if per_image else ())
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
            class_loss = _class_loss(predicted[:, 5:], positive.classes, head, per_row=per_image)
            if per_image:
                box_part, class_part = (
                    _mean_of_image(each, positive.image, images=len(output)) for each in (box_loss, class_loss)
                )
            else:
                box_part, class_part = box_loss.mean(), class_loss
            total = total + BOX_WEIGHT * box_part
            total = total + CLASS_WEIGHT * class_part
            # Two objects can share an anchor; the better box sets the target, in any order of execution.
            _, anchor_count, rows, columns = objectness.shape
            index = (positive.image * anchor_count + positive.anchor) * rows + positive.row
            index = index * columns + positive.column
            quality = (1 - box_loss.detach()).clamp(0, 1)
            target = target.flatten().scatter_reduce(0, index, quality, "amax").view_as(objectness)
        total = total + OBJECTNESS_WEIGHT * _cross_entropy(objectness, target, per_row=per_image)
    return total


def _class_loss(logits: Tensor, classes: Tensor, head: Head, *, per_row: bool) -> Tensor:
    """Return the mean over positive anchors, or the loss of each."""
    if head.softmax:
        return cross_entropy(logits, classes, reduction="none" if per_row else "mean")
    return _cross_entropy(logits, one_hot(classes, head.classes).to(logits), per_row=per_row)


def _cross_entropy(logits: Tensor, wanted: Tensor, *, per_row: bool) -> Tensor:
    """Return the mean binary cross-entropy, or that of each index of the first dimension."""
    if not per_row:
        return binary_cross_entropy_with_logits(logits, wanted)
    return binary_cross_entropy_with_logits(logits, wanted, reduction="none").flatten(1).mean(dim=1)


def _mean_of_image(values: Tensor, image: Tensor, *, images: int) -> Tensor:
    """Return the mean of the values of each image, (images,), 0 where it has none; `values` and `image` are (P,)."""
    zeros = values.new_zeros(images)
    counts = zeros.index_add(0, image, torch.ones_like(values)).clamp(min=1)
    return zeros.index_add(0, image, values) / counts


def _corners(boxes: Tensor) -> Tensor:
    from torchvision.ops import box_convert

    corners: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return corners
