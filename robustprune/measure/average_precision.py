"""COCO average precision of a detector's boxes, by pycocotools; how boxes come about is not known here."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from robustprune.data.coco import CocoSplit


class Detections(NamedTuple):
    """What a detector found in one image.

    Attributes:
        image_id: As in the annotations.
        boxes: x1, y1, x2, y2 in pixels of the image as it is on disk, shape (K, 4).
        scores: Confidence, the larger the surer, shape (K,).
        classes: Contiguous from 0, shape (K,).
    """

    image_id: int
    boxes: Tensor
    scores: Tensor
    classes: Tensor


class AveragePrecision(NamedTuple):
    """Means over the classes that have ground truth, in [0, 1].

    Attributes:
        ap: Mean over IoU thresholds 0.50, 0.55 to 0.95 in steps of 0.05.
        ap50: At IoU 0.50.
        ap75: At IoU 0.75.
    """

    ap: float
    ap50: float
    ap75: float


def average_precision(split: CocoSplit, detections: Sequence[Detections]) -> AveragePrecision:
    """Return the AP of detections on all images of a split: all sizes, at most 100 per image and class.

    An image without detections may be left out; nothing detected, or nothing to detect, gives 0.

    Source: Lin et al., Microsoft COCO (2014); `COCOeval.summarize()` gives the same first three figures.
    """
    results = COCO()
    results.dataset = {**split.ground_truth.dataset, "annotations": list(_results(split, detections))}
    evaluation = COCOeval(split.ground_truth, results, "bbox")
    evaluation.params.areaRng = evaluation.params.areaRng[:1]
    evaluation.params.maxDets = evaluation.params.maxDets[-1:]
    with contextlib.redirect_stdout(io.StringIO()):
        results.createIndex()
        evaluation.evaluate()
        evaluation.accumulate()
    # (thresholds, recalls, classes, 1, 1); -1 marks the classes without ground truth.
    precision = evaluation.eval["precision"]
    counted = precision[:, :, (precision > -1).all(axis=(0, 1, 3, 4))]
    if counted.size == 0:
        return AveragePrecision(0.0, 0.0, 0.0)
    by_threshold = counted.mean(axis=(1, 2, 3, 4))
    return AveragePrecision(float(by_threshold.mean()), float(by_threshold[0]), float(by_threshold[5]))


def _results(split: CocoSplit, detections: Sequence[Detections]) -> Iterator[dict[str, Any]]:
    number = 0
    for found in detections:
        assert found.image_id in split.ground_truth.imgs, f"image {found.image_id} is not of this split"
        assert found.scores.isfinite().all(), f"image {found.image_id} has scores that are not finite"
        columns = (found.boxes.tolist(), found.scores.tolist(), found.classes.tolist())
        for (left, top, right, bottom), score, class_ in zip(*columns, strict=True):
            number += 1  # from 1: pycocotools takes what is matched to id 0 for unmatched
            yield {
                "id": number,
                "image_id": found.image_id,
                "category_id": split.category_ids[class_],
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 0,
                "score": score,
            }
