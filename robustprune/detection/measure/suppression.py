"""Non-maximum suppression: of boxes that overlap, the best one of a class is left."""

from __future__ import annotations

import torch
from torch import Tensor

from robustprune.detection.detector import Suppression


def suppress(
    boxes: Tensor, scores: Tensor, classes: Tensor, *, iou: float, by: Suppression, sides: tuple[float, float]
) -> Tensor:
    """Return which boxes are left, best score first.

    Args:
        boxes: (K, 4) as x1, y1, x2, y2 in pixels of the input.
        scores: (K,).
        classes: (K,); boxes of different ones do not suppress each other.
        iou: of two overlapping boxes of a class, the weaker goes if their IoU, or what stands for it, exceeds this.
        by: what stands for it.
        sides: (height, width) that distances are in units of: of the picture in the input, without its padding, as
            AlexeyAB's `detector test` and `map` have it. Overlap knows no units.
    """
    if by.kind == "greedy":
        from torchvision.ops import batched_nms  # takes as long to import as PyTorch; planning does without

        # In double precision, as torchvision tells classes apart by moving them far from each other.
        kept: Tensor = batched_nms(boxes.double(), scores.double(), classes, iou)
        return kept
    height, width = sides
    relative = boxes.double() / boxes.new_tensor([width, height] * 2, dtype=torch.float64)
    return _by_distance(relative.cpu(), scores.cpu(), classes.cpu(), iou, by.beta).to(boxes.device)


def _by_distance(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float, beta: float) -> Tensor:
    """Suppress by IoU − (d² / c²)^β, d between centres and c the diagonal of what encloses both.

    Source: `diounms_sort` and `box_diounms` of AlexeyAB's `box.c`; Zheng et al., Distance-IoU Loss (2020), where β is
    1. Boxes are in units of a picture's sides, as there: c is another in pixels of an oblong.
    """
    from torchvision.ops import box_iou

    order = scores.argsort(descending=True, stable=True)
    boxes, classes = boxes[order], classes[order]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    left = torch.ones(len(boxes), dtype=torch.bool)
    for index in range(len(boxes)):
        if not left[index]:
            continue
        after = slice(index + 1, None)
        low = torch.minimum(boxes[index, :2], boxes[after, :2])
        high = torch.maximum(boxes[index, 2:], boxes[after, 2:])
        diagonal = (high - low).square().sum(dim=1)
        distance = (centres[index] - centres[after]).square().sum(dim=1)
        far = torch.where(diagonal > 0, distance / diagonal, 0).pow(beta)
        overlap = box_iou(boxes[index, None], boxes[after])[0] - far
        left[after] &= ~((classes[after] == classes[index]) & (overlap > threshold))
    return order[left]
