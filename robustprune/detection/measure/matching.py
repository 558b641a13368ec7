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

SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""COCO's ranges of an object's area, in pixels of its image. What is outside is ignored, found or not."""

MAX_DETECTIONS = 100
"""Per image, as COCO's server limits results, and per class, as in COCO's own figures, unless another limit is set."""


class Detections(NamedTuple):
    """What a detector found in one image.

    Attributes:
        image_id: As in the annotations.
        boxes: x1, y1, x2, y2 in pixels of the image as it is on disk, shape (K, 4).
        scores: Confidence, the larger the surer, shape (K,).
        classes: Contiguous from 0, shape (K,).
        sides: Width and height of the boxes, shape (K, 2), where they are known better than from the corners, whose
            difference may be off in the last digit, and so on the other side of a limit of `SIZES`.
    """

    image_id: int
    boxes: Tensor
    scores: Tensor
    classes: Tensor
    sides: Tensor | None = None

    @property
    def bbox(self) -> Tensor:
        """The boxes as COCO's: left, top, width, height in double precision, shape (K, 4)."""
        corners = self.boxes.double()
        sides = corners[:, 2:] - corners[:, :2] if self.sides is None else self.sides.double()
        return torch.cat([corners[:, :2], sides], dim=1)


def of_known(split: CocoSplit, found: Detections) -> Detections:
    """Return the detections of an image that are of categories in the split's file, whose ids are no inventions."""
    if not split.added:
        return found
    known = torch.tensor([category not in split.added for category in split.categories])[found.classes]
    sides = None if found.sides is None else found.sides[known]
    return Detections(found.image_id, found.boxes[known], found.scores[known], found.classes[known], sides)


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


def matched(split: CocoSplit, detections: Sequence[Detections], *, limit: int = MAX_DETECTIONS) -> list[Matches]:
    """Return the matches of each class: objects of all sizes.

    Args:
        split: whose images were looked at.
        detections: of its images; one without any may be left out.
        limit: so many per image and class count at most, the surest.
    """
    return matched_by_size(split, detections, limit=limit, sizes=("all",))["all"]


def matched_by_size(
    split: CocoSplit, detections: Sequence[Detections], *, limit: int = MAX_DETECTIONS, sizes: Sequence[str] = (*SIZES,)
) -> dict[str, list[Matches]]:
    """Return the matches of each class, by the size of objects; see `matched`."""
    counts = [len(found.scores) for found in detections]
    image_ids = np.repeat(np.array([found.image_id for found in detections], dtype=np.int64), counts)
    bbox = torch.cat([torch.zeros(0, 4, dtype=torch.float64), *(found.bbox for found in detections)]).numpy()
    scores = torch.cat([torch.zeros(0), *(found.scores for found in detections)]).numpy()
    classes = torch.cat([torch.zeros(0, dtype=torch.int64), *(found.classes for found in detections)]).numpy()
    assert np.isin(image_ids, split.image_ids).all(), "found detections in images that are not of this split"
    assert np.isfinite(scores).all(), "found scores that are not finite"
    order = np.lexsort((-scores, image_ids, classes))
    # One class at a time: pycocotools holds a kilobyte for each detection it looks at.
    bounds = np.searchsorted(classes, np.arange(len(split.categories) + 1), sorter=order)
    by_class = [
        _matches(split, category_id, image_ids[rows], bbox[rows], scores[rows], limit, sizes)
        for category_id, rows in zip(split.category_ids, np.split(order, bounds[1:-1]), strict=True)
    ]
    return {size: [of_class[position] for of_class in by_class] for position, size in enumerate(sizes)}


def _matches(
    split: CocoSplit,
    category_id: int,
    image_ids: Ids,
    bbox: NDArray[np.float64],
    scores: NDArray[np.floating],
    limit: int,
    sizes: Sequence[str],
) -> list[Matches]:
    """Return the matches of one class by size; detections are in the order of their images, the best of one first."""
    best = np.arange(len(image_ids)) - np.searchsorted(image_ids, image_ids) < limit
    image_ids, bbox, scores = image_ids[best], bbox[best], scores[best]
    areas = bbox[:, 2] * bbox[:, 3]
    with_truth = np.unique(np.array(split.ground_truth.catToImgs[category_id], dtype=np.int64))
    # Where the class has no object, every detection is wrong; that takes no pycocotools.
    judged = np.isin(image_ids, with_truth)
    by_size: list[list[dict[str, NDArray[np.float64]]]] = [[] for _ in sizes]
    if len(with_truth):
        by_size = _by_pycocotools(
            split.ground_truth,
            category_id,
            with_truth,
            image_ids[judged],
            bbox[judged],
            areas[judged],
            scores[judged],
            limit,
            sizes,
        )
    # As pycocotools sorts: among equals by image.
    order = np.argsort(-scores, kind="stable")
    image = np.searchsorted(split.image_ids, image_ids)[order]
    matches = []
    for size, by_image in zip(sizes, by_size, strict=True):
        low, high = SIZES[size]
        hits = np.zeros((THRESHOLDS, len(image_ids)), dtype=np.bool_)
        counted = np.tile((areas >= low) & (areas <= high), (THRESHOLDS, 1))
        objects = np.zeros(len(split), dtype=np.int64)
        if by_image:
            found, ignored = (
                np.concatenate([image[name] for image in by_image], axis=1).astype(np.bool_)
                for name in ("dtMatches", "dtIgnore")
            )
            hits[:, judged], counted[:, judged] = found & ~ignored, ~ignored
            objects[np.searchsorted(split.image_ids, with_truth)] = [
                np.count_nonzero(image["gtIgnore"] == 0) for image in by_image
            ]
        matches.append(Matches(image, hits[:, order], counted[:, order], objects))
    return matches


def _by_pycocotools(
    truth: COCO,
    category_id: int,
    with_truth: Ids,
    image_ids: Ids,
    boxes: NDArray[np.float64],
    areas: NDArray[np.float64],
    scores: NDArray[np.floating],
    limit: int,
    sizes: Sequence[str],
) -> list[list[dict[str, NDArray[np.float64]]]]:
    """Return what pycocotools finds, by size, image by image of `with_truth`; detections keep their order."""
    columns = (image_ids, boxes, areas, scores)
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
        evaluation.params.areaRng = [list(SIZES[size]) for size in sizes]
        evaluation.params.areaRngLbl = [*sizes]
        evaluation.params.maxDets = [limit]
        evaluation.evaluate()
    found: list[dict[str, NDArray[np.float64]]] = evaluation.evalImgs
    images = len(with_truth)
    return [found[start : start + images] for start in range(0, images * len(sizes), images)]
