"""Which detections of a split are right, at each IoU threshold, by pycocotools; precision comes of it elsewhere.

How boxes come about is not known here.
"""

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

THRESHOLDS = 10
"""IoU 0.50, 0.55 to 0.95."""

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


class Matches(NamedTuple):
    """The detections of one class in all images, the surest first, D of them.

    Attributes:
        image: Position of its image in the split, (D,).
        hits: Whether it is an object's, by threshold, (10, D).
        counted: Whether it is right or wrong, not ignored because it lies in a crowd, (10, D).
        objects: To be found, by image of the split, (number of images,).
    """

    image: Ids
    hits: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    objects: Ids


def matched(split: CocoSplit, detections: Sequence[Detections]) -> list[Matches]:
    """Return the matches of each class: objects of all sizes, at most 100 detections per image and class.

    An image without detections may be left out.
    """
    counts = [len(found.scores) for found in detections]
    image_ids = np.repeat(np.array([found.image_id for found in detections], dtype=np.int64), counts)
    boxes = torch.cat([torch.zeros(0, 4), *(found.boxes for found in detections)]).numpy()
    scores = torch.cat([torch.zeros(0), *(found.scores for found in detections)]).numpy()
    classes = torch.cat([torch.zeros(0, dtype=torch.int64), *(found.classes for found in detections)]).numpy()
    assert np.isin(image_ids, split.image_ids).all(), "found detections in images that are not of this split"
    assert np.isfinite(scores).all(), "found scores that are not finite"
    order = np.lexsort((-scores, image_ids, classes))
    # One class at a time: pycocotools holds a kilobyte for each detection it looks at.
    bounds = np.searchsorted(classes, np.arange(len(split.categories) + 1), sorter=order)
    return [
        _matches(split, category_id, image_ids[rows], boxes[rows], scores[rows])
        for category_id, rows in zip(split.category_ids, np.split(order, bounds[1:-1]), strict=True)
    ]


def _matches(
    split: CocoSplit, category_id: int, image_ids: Ids, boxes: NDArray[np.floating], scores: NDArray[np.floating]
) -> Matches:
    """Return the matches of one class; detections are in the order of their images, the best of an image first."""
    best = np.arange(len(image_ids)) - np.searchsorted(image_ids, image_ids) < MAX_DETECTIONS
    image_ids, boxes, scores = image_ids[best], boxes[best], scores[best]
    hits = np.zeros((THRESHOLDS, len(image_ids)), dtype=np.bool_)
    counted = np.ones_like(hits)
    objects = np.zeros(len(split), dtype=np.int64)
    with_truth = np.unique(np.array(split.ground_truth.catToImgs[category_id], dtype=np.int64))
    # Where the class has no object, every detection is wrong; that takes no pycocotools.
    judged = np.isin(image_ids, with_truth)
    if len(with_truth):
        by_image = _by_pycocotools(
            split.ground_truth, category_id, with_truth, image_ids[judged], boxes[judged], scores[judged]
        )
        found, ignored = (
            np.concatenate([image[name] for image in by_image], axis=1).astype(np.bool_)
            for name in ("dtMatches", "dtIgnore")
        )
        hits[:, judged], counted[:, judged] = found & ~ignored, ~ignored
        objects[np.searchsorted(split.image_ids, with_truth)] = [
            np.count_nonzero(image["gtIgnore"] == 0) for image in by_image
        ]
    # As pycocotools sorts: among equals by image.
    order = np.argsort(-scores, kind="stable")
    image = np.searchsorted(split.image_ids, image_ids)[order]
    return Matches(image, hits[:, order], counted[:, order], objects)


def _by_pycocotools(
    truth: COCO,
    category_id: int,
    with_truth: Ids,
    image_ids: Ids,
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
) -> list[dict[str, NDArray[np.float64]]]:
    """Return what pycocotools finds image by image, of `with_truth`; detections keep their order."""
    corners = boxes.astype(np.float64)
    bbox = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    columns = (image_ids, bbox, bbox[:, 2] * bbox[:, 3], scores)
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
        evaluation.params.imgIds = with_truth.tolist()
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.evaluate()
    by_image: list[dict[str, NDArray[np.float64]]] = evaluation.evalImgs
    return by_image
