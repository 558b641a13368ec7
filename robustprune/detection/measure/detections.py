"""From images to detections: decode, threshold, non-maximum suppression where boxes overlap."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from robustprune.detection.detector import Detector
from robustprune.detection.measure.matching import MAX_DETECTIONS
from robustprune.detection.measure.suppression import suppress

FIRST_TRIED = 1000
"""Candidates of an image among which a sound detector's best 100 are found."""


@torch.no_grad()
def detect(
    detector: Detector,
    images: Tensor,
    *,
    confidence: float,
    nms_iou: float,
    limit: int = MAX_DETECTIONS,
    pictures: Sequence[tuple[float, float]] | None = None,
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return boxes, scores and classes per image, best score first.

    Every (box, class) pair is a candidate of score objectness · class probability, as in Darknet.

    Args:
        detector: in eval mode.
        images: (N, channels, H, W) in [0, 1].
        confidence: candidates at or below this score are dropped.
        nms_iou: of two overlapping boxes of a class, the weaker goes if their IoU exceeds this; or what the detector
            measures in its place.
        limit: so many of an image at most: a detector ruined by pruning would report boxes by the thousand. pycocotools
            looks at as many per image and class; on a sound detector that is worth 0.0002 AP.
        pictures: (height, width) of each picture in its image, where there is padding around; see `suppress`.

    Shape:
        boxes (K, 4) as x1, y1, x2, y2 in pixels of the input, scores (K,), classes (K,) int64; K ≤ `limit`.

    Raises:
        FloatingPointError: the detector's outputs hold NaN, which no threshold would show.
    """
    from torchvision.ops import box_convert  # takes as long to import as PyTorch; planning does without

    height, width = images.shape[-2:]
    predictions = detector.decode(detector(images), (height, width))
    if predictions.isnan().any():
        raise FloatingPointError("the detector answers with NaN")
    found = []
    for prediction, sides in zip(predictions, pictures or [(height, width)] * len(images), strict=True):
        suppressed: Callable[[Tensor, Tensor, Tensor], Tensor] = _all
        if detector.suppression is not None:
            suppressed = functools.partial(suppress, iou=nms_iou, by=detector.suppression, sides=sides)
        # Classes are probabilities: no score exceeds its box's objectness.
        prediction = prediction[prediction[:, 4] > confidence]
        scores = prediction[:, 4:5] * prediction[:, 5:]
        box, classes = (scores > confidence).nonzero(as_tuple=True)
        kept_scores = scores[box, classes]
        boxes = box_convert(prediction[box, :4], "cxcywh", "xyxy")
        best = _best(boxes, kept_scores, classes, suppressed, limit)
        found.append((boxes[best], kept_scores[best], classes[best]))
    return found


def _all(boxes: Tensor, scores: Tensor, classes: Tensor) -> Tensor:
    """Suppress nothing: return the place of each of (K,) boxes, which come best score first."""
    return torch.arange(len(scores), device=scores.device)


def _best(
    boxes: Tensor, scores: Tensor, classes: Tensor, suppressed: Callable[[Tensor, Tensor, Tensor], Tensor], limit: int
) -> Tensor:
    """Return which boxes non-maximum suppression per class leaves, best score first: at most `limit`.

    What is left of the best depends on none that are worse. So these are tried only if too few are left: a ruined
    detector has 80 candidates in every place, and to compare them all takes half a minute per image.
    """
    order = scores.argsort(descending=True, stable=True)
    tried = FIRST_TRIED
    while True:
        first = order[:tried]
        left = suppressed(boxes[first], scores[first], classes[first])
        if len(left) >= limit or tried >= len(order):
            return first[left[:limit]]
        tried *= 4
