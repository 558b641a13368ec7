"""Which detections of a split are right, at each IoU threshold, as pycocotools finds; precision comes of it elsewhere.

Overlaps are pycocotools' own. Its loop over images, classes, sizes and thresholds, a minute of Python for COCO's 5000
images, is taken here for all of them at once. How boxes come about is not known here.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as pycocotools_mask
from torch import Tensor

from robustprune.detection.data.coco import CocoSplit, Objects

Ids = NDArray[np.int64]

THRESHOLDS = 10
"""IoU 0.50, 0.55 to 0.95."""

_IOU = np.linspace(0.5, 0.95, THRESHOLDS)

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
    image = np.searchsorted(split.image_ids, image_ids)
    order = np.lexsort((-scores, image, classes))
    # A group is what is compared with each other: detections and objects of one class in one image.
    groups = (classes * len(split) + image)[order]
    best = np.arange(len(order)) - np.searchsorted(groups, groups) < limit
    order, groups = order[best], groups[best]
    image, bbox, scores, classes = image[order], bbox[order], scores[order], classes[order]

    objects = _by_class(split.objects)
    ranges = np.array([SIZES[size] for size in sizes])
    ignored = objects.crowds[:, None] | _outside(objects.areas, ranges)
    pairs = _pairs(bbox, groups, objects, len(split))
    hits, on_ignored = _assigned(pairs, groups, ignored, objects.crowds)

    outside = _outside(bbox[:, 2] * bbox[:, 3], ranges)
    candidates = np.unique(pairs.detection)
    counted = ~on_ignored & (hits | ~outside[candidates][:, None])
    # As pycocotools sorts: the surest first, among equals by image.
    surest = np.lexsort((-scores, classes))
    place = np.empty_like(surest)
    place[surest] = np.arange(len(surest))
    image, outside, place = image[surest], outside[surest], place[candidates]
    found: dict[str, list[Matches]] = {}
    bounds = np.searchsorted(classes, np.arange(len(split.categories) + 1))
    for position, size in enumerate(sizes):
        hit = np.zeros((THRESHOLDS, len(image)), dtype=np.bool_)
        hit[:, place] = (hits & ~on_ignored)[:, :, position].T
        counts_too = np.tile(~outside[:, position], (THRESHOLDS, 1))
        counts_too[:, place] = counted[:, :, position].T
        wanted = ~ignored[:, position]
        found[size] = []
        for class_, (start, stop) in enumerate(pairwise(bounds)):
            own = objects.images[wanted & (objects.classes == class_)]
            number = np.bincount(own, minlength=len(split))
            found[size].append(Matches(image[start:stop], hit[:, start:stop], counts_too[:, start:stop], number))
    return found


def _by_class(objects: Objects) -> Objects:
    """Return objects ordered by class, then by image, then as they are in the file."""
    order = np.lexsort((objects.images, objects.classes))
    return Objects._make(column[order] for column in objects)


def _outside(areas: NDArray[np.float64], ranges: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which areas, (N,), are outside of each range, (sizes, 2); shape (N, sizes)."""
    outside: NDArray[np.bool_] = (areas[:, None] < ranges[:, 0]) | (areas[:, None] > ranges[:, 1])
    return outside


class _Pairs(NamedTuple):
    """Detections and objects of one class in one image that overlap enough to be matched, in their order; (P,) each."""

    detection: Ids
    object: Ids
    iou: NDArray[np.float64]


def _pairs(bbox: NDArray[np.float64], groups: Ids, objects: Objects, images: int) -> _Pairs:
    """Return the pairs of detections, which come group by group, and objects, which do too."""
    of_objects = objects.classes * images + objects.images
    shared = np.unique(of_objects)
    own, theirs = (
        np.stack([np.searchsorted(of, shared), np.searchsorted(of, shared, side="right")], axis=1)
        for of in (of_objects, groups)
    )
    parts = [_Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    some = theirs[:, 1] > theirs[:, 0]
    for (first, last), (low, high) in zip(theirs[some].tolist(), own[some].tolist(), strict=True):
        iou = pycocotools_mask.iou(bbox[first:last], objects.bbox[low:high], objects.crowds[low:high])
        detection, of = np.nonzero(iou >= _IOU[0])
        parts.append(_Pairs(detection + first, of + low, iou[detection, of]))
    return _Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _assigned(
    pairs: _Pairs, groups: Ids, ignored: NDArray[np.bool_], crowds: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which detections that have a pair are given an object, and which of these one that is ignored.

    The surest detection of a group chooses first, of the objects that nobody took, or of crowds, that which it overlaps
    most, and an ignored one only where there is no other; of equals the last, as pycocotools does.

    Args:
        pairs: by detection, then by object.
        groups: of every detection, ascending; the surest of a group come first.
        ignored: which objects are, by size, (objects, sizes).
        crowds: which objects are crowds, (objects,).

    Returns:
        Both of shape (detections with a pair, 10, sizes).
    """
    detections, counts = np.unique(pairs.detection, return_counts=True)
    own = groups[detections]
    turn = np.arange(len(own)) - np.searchsorted(own, own)
    # One turn after the other; in a turn are one detection of each group that has as many.
    order = np.argsort(np.repeat(turn, counts), kind="stable")
    detection, object_, iou = (column[order] for column in pairs)
    preference = np.empty((len(order), ignored.shape[1]), dtype=np.int32)
    for size in range(ignored.shape[1]):
        ranked = np.lexsort((object_, iou, ~ignored[object_, size]))
        preference[ranked, size] = np.arange(1, len(ranked) + 1)
    enough = iou[:, None] >= _IOU

    given = np.zeros((len(detections), THRESHOLDS, ignored.shape[1]), dtype=np.bool_)
    on_ignored, taken = given.copy(), np.zeros((len(ignored), *given.shape[1:]), dtype=np.bool_)
    turns = np.sort(turn)
    ends = np.searchsorted(np.sort(np.repeat(turn, counts)), np.arange(turns[-1] + 2 if len(turns) else 0))
    for start, stop in pairwise(ends):
        part = slice(start, stop)
        objects = object_[part]
        chooser, first, times = np.unique(detection[part], return_index=True, return_counts=True)
        free = enough[part, :, None] & (~taken[objects] | crowds[objects, None, None])
        wish = np.where(free, preference[part, None], 0)
        best = np.maximum.reduceat(wish, first, axis=0)
        chosen = free & (wish == np.repeat(best, times, axis=0))
        taken[objects] |= chosen
        place = np.searchsorted(detections, chooser)
        given[place] = best > 0
        on_ignored[place] = np.logical_or.reduceat(chosen & ignored[objects, None], first, axis=0)
    return given, on_ignored
