"""COCO average precision of a detector's boxes, by pycocotools; how boxes come about is not known here."""

import contextlib
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from robustprune.core.garbage_collection import paused
from robustprune.detection.data.coco import CocoSplit

Ids = NDArray[np.int64]

MAX_DETECTIONS = 100
"""Per image and class, as in COCO's own figures."""


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
    if not any(len(found.scores) for found in detections):
        return AveragePrecision(0.0, 0.0, 0.0)
    counts = [len(found.scores) for found in detections]
    image_ids = np.repeat(np.array([found.image_id for found in detections], dtype=np.int64), counts)
    boxes = torch.cat([found.boxes for found in detections]).numpy()
    scores = torch.cat([found.scores for found in detections]).numpy()
    classes = torch.cat([found.classes for found in detections]).numpy()
    assert np.isin(image_ids, split.image_ids).all(), "found detections in images that are not of this split"
    assert np.isfinite(scores).all(), "found scores that are not finite"
    order = np.lexsort((-scores, image_ids, classes))
    # One class at a time: pycocotools holds a kilobyte for each detection it looks at.
    bounds = np.searchsorted(classes, np.arange(len(split.categories) + 1), sorter=order)
    precision = np.stack(
        [
            _precision(split.ground_truth, category_id, image_ids[rows], boxes[rows], scores[rows])
            for category_id, rows in zip(split.category_ids, np.split(order, bounds[1:-1]), strict=True)
        ],
        axis=-1,
    )
    # -1 marks the classes without ground truth.
    counted = precision[:, :, (precision > -1).all(axis=(0, 1))]
    if counted.size == 0:
        return AveragePrecision(0.0, 0.0, 0.0)
    by_threshold = counted.mean(axis=(1, 2))
    return AveragePrecision(float(by_threshold.mean()), float(by_threshold[0]), float(by_threshold[5]))


def _precision(
    truth: COCO, category_id: int, image_ids: Ids, boxes: NDArray[np.floating], scores: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the precision in one class by IoU threshold and recall, shape (10, 101), -1 without ground truth.

    Detections are in the order of their images, the best of an image first.
    """
    with_truth = np.unique(np.array(truth.catToImgs[category_id], dtype=np.int64))
    best = np.arange(len(image_ids)) - np.searchsorted(image_ids, image_ids) < MAX_DETECTIONS
    image_ids = _merged(image_ids[best], with_truth)
    corners = boxes[best].astype(np.float64)
    bbox = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    columns = (image_ids, bbox, bbox[:, 2] * bbox[:, 3], scores[best])
    results = COCO()
    with paused(), contextlib.redirect_stdout(io.StringIO()):
        results.dataset = {
            "annotations": [
                {"id": id_, "image_id": image_id, "category_id": category_id, "bbox": box, "area": area, "score": score}
                # From 1: pycocotools takes what is matched to id 0 for unmatched.
                for id_, (image_id, box, area, score) in enumerate(
                    zip(*(column.tolist() for column in columns), strict=True), start=1
                )
            ]
        }
        results.createIndex()
        evaluation = COCOeval(truth, results, "bbox")
        evaluation.params.catIds = [category_id]
        evaluation.params.imgIds = np.union1d(with_truth, image_ids).tolist()
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    # (thresholds, recalls, 1, 1, 1)
    precision: NDArray[np.float64] = evaluation.eval["precision"][:, :, 0, 0, 0]
    return precision


def _merged(image_ids: Ids, with_truth: Ids) -> Ids:
    """Return images for detections of one class by which pycocotools arrives at the same in a third of the time.

    In an image without ground truth every detection is wrong, so that it counts only where it stands among others of
    its score. A hundred in a row, with no detection in an image with ground truth between them, may therefore all be in
    the image of the first.

    Args:
        image_ids: ascending, each at most 100 times.
        with_truth: the images with ground truth of the class.
    """
    apart = np.isin(image_ids, with_truth)
    row = np.cumsum(apart)[~apart]
    first = (np.arange(len(row)) - np.searchsorted(row, row)) % MAX_DETECTIONS == 0
    merged = image_ids.copy()
    merged[~apart] = image_ids[~apart][first][np.cumsum(first) - 1]
    return merged
