"""KITTI's average precision of 2D boxes at its three difficulties, and the most that so few objects let anything have.

It is no COCO AP: what is too hard, a neighbour or in a region nobody cares for counts neither way, and precision is
read where recall comes nearest to each of 41 places. N < 41 objects reach N of these, and 40 are read, not the first.

Source: `evaluate_object.cpp` of the object development kit; Simonelli et al., Disentangling Monocular 3D Object
Detection (2019), for 40 places in the place of 11. Figures agree with OpenPCDet's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robustprune.core.settings import Settings
from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.kitti.labels import DONT_CARE, Labels
from robustprune.detection.data.kitti.levels import COUNTS, LEVELS, OTHER, Level, standing
from robustprune.detection.data.kitti.split import KittiSplit
from robustprune.detection.measure.matching import Detections

PLACES = 41
"""Recalls at which precision is known: 0, 1/40 to 1."""


class KittiOverlaps(Settings):
    """Detections whose IoU with an object exceeds this are right; KITTI's own values are the defaults."""

    car: float = Field(default=0.7, gt=0, lt=1, description="of cars")
    pedestrian: float = Field(default=0.5, gt=0, lt=1, description="of pedestrians")
    cyclist: float = Field(default=0.5, gt=0, lt=1, description="of cyclists")


class KittiSettings(Settings):
    """How KITTI's average precision is taken; of other data sets there is none."""

    interpolation: Literal[40, 11] = Field(
        default=40, description="recalls at which precision is read: 40, as since 2019, or 11, as before"
    )
    iou: KittiOverlaps = Field(default=KittiOverlaps(), description="what a detection has to overlap, by class")


class LevelPrecision(NamedTuple):
    """How well the objects of a class are found that count at a level; there is at least one.

    Attributes:
        level: one of `levels.LEVELS`, by name.
        class_: from 0.
        objects: how many count.
        ap: average precision, of [0, 1].
        ceiling: that of a detector that makes no mistake.
    """

    level: str
    class_: int
    objects: int
    ap: float
    ceiling: float


def level_precisions(
    split: CocoSplit, detections: Sequence[Detections], settings: KittiSettings
) -> list[LevelPrecision]:
    """Return a line for each level and class that objects count at; none of a split without levels.

    Args:
        split: whose images were looked at.
        detections: of its images; one without any may be left out.
        settings: how precision is taken.
    """
    if not isinstance(split, KittiSplit):
        return []
    found = {of_image.image_id: of_image for of_image in detections}
    lines = []
    for class_, name in enumerate(split.category_names):
        overlap = getattr(settings.iou, name.lower(), None)
        if overlap is None:  # a class of the detector's that is none of KITTI's
            continue
        for level in LEVELS:
            images = [
                _judged(split.labels[image_id], found.get(image_id), name, class_, level, overlap, split.pixel)
                for image_id in split.image_ids
            ]
            objects = sum(image.objects for image in images)
            if objects:
                ap = _mean(_precisions(images, objects), settings.interpolation)
                lines.append(LevelPrecision(level.name, class_, objects, ap, ceiling(objects, settings.interpolation)))
    return lines


LEVEL_PRECISIONS = tuple(f"ap_{level.name}_{what}" for what in ("adv", "clean") for level in LEVELS)
"""Means over classes, as a row has them."""

LEVEL_COLUMNS = (*LEVEL_PRECISIONS, *(f"ap_{level.name}_ceiling" for level in LEVELS))
"""The same, and the most that they could be."""


def level_columns(clean: Sequence[LevelPrecision], attacked: Sequence[LevelPrecision]) -> dict[str, float | None]:
    """Return `LEVEL_COLUMNS`; None where nothing counts at a level, or images have none."""
    found: dict[str, float | None] = dict.fromkeys(LEVEL_COLUMNS)
    for level in LEVELS:
        for what, lines, name in (("adv", attacked, "ap"), ("clean", clean, "ap"), ("ceiling", clean, "ceiling")):
            values = [getattr(line, name) for line in lines if line.level == level.name]
            found[f"ap_{level.name}_{what}"] = float(np.mean(values)) if values else None
    return found


COLUMNS: dict[str, type] = {
    "attacked": bool,
    "level": str,
    "category": str,
    "objects": int,
    "ap": float,
    "ceiling": float,
}
"""Of a row's table: a line per level and class that objects count at, of clean and of attacked images."""


def level_table(
    split: CocoSplit, clean: Sequence[LevelPrecision], attacked: Sequence[LevelPrecision]
) -> dict[str, NDArray[Any]] | None:
    """Return `COLUMNS`: first the lines of clean, then those of attacked images; None of a split without levels."""
    if not isinstance(split, KittiSplit):
        return None
    lines = [*clean, *attacked]
    return {
        "attacked": np.array([False] * len(clean) + [True] * len(attacked), np.bool_),
        "level": np.array([line.level for line in lines], np.object_),
        "category": np.array([split.category_names[line.class_] for line in lines], np.object_),
        "objects": np.array([line.objects for line in lines], np.int64),
        "ap": np.array([line.ap for line in lines], np.float64),
        "ceiling": np.array([line.ceiling for line in lines], np.float64),
    }


def ceiling(objects: int, interpolation: Literal[40, 11]) -> float:
    """Return the average precision of a detector that finds so many objects and nothing else.

    >>> ceiling(11, 40), round(ceiling(11, 11), 4), ceiling(41, 40)
    (0.25, 0.2727, 1.0)
    """
    precisions = np.zeros(PLACES)
    precisions[: min(objects, PLACES)] = 1
    return _mean(precisions, interpolation)


def thresholds(scores: NDArray[np.float64], objects: int) -> list[float]:
    """Return the scores at which precision is read, the highest first: those whose recall is nearest to each place.

    Args:
        scores: of detections that are right.
        objects: to be found.
    """
    taken: list[float] = []
    place = 0.0
    ordered = np.sort(scores)[::-1].tolist()
    for rank, score in enumerate(ordered, start=1):
        is_last = rank == len(ordered)
        if not is_last and (rank + 1) / objects - place < place - rank / objects:
            continue
        taken.append(score)
        place += 1 / (PLACES - 1)
    return taken[:PLACES]


class _Pair(NamedTuple):
    """A detection that overlaps an object enough."""

    detection: int
    iou: float
    score: float
    is_ignored: bool
    is_cared_for: bool


class _Image(NamedTuple):
    """What the detections in an image are to a class at a level.

    Attributes:
        objects: that count.
        pairs: of every object that does not belong to another class: whether it counts, and what overlaps it.
        scores: of detections of the class that are wrong unless they are an object's; those in regions that nobody
            cares for are none of them.
    """

    objects: int
    pairs: list[tuple[bool, list[_Pair]]]
    scores: NDArray[np.float64]


def _judged(
    labels: Labels, found: Detections | None, name: str, class_: int, level: Level, overlap: float, pixel: float
) -> _Image:
    stands = standing(labels, name, level, pixel=pixel)
    objects = int((stands == COUNTS).sum())
    if found is None or not len(found.scores):
        return _Image(objects, [], np.zeros(0))
    boxes, scores = found.boxes.double().numpy(), found.scores.double().numpy()
    # Too low to count, whatever its class; so it is in KITTI's own code.
    heights = np.abs(boxes[:, 3] - boxes[:, 1]) * pixel
    ignored = np.asarray(heights < level.height)
    own = (found.classes.numpy() == class_) & ~ignored
    shared, areas = _intersections(boxes, labels.boxes), _areas(boxes)
    iou = shared / np.maximum(areas[:, None] + _areas(labels.boxes) - shared, np.finfo(float).tiny)
    of_no_care = shared[:, labels.of_type(DONT_CARE)] / np.maximum(areas, np.finfo(float).tiny)[:, None]
    cared_for = np.asarray(~(of_no_care > overlap).any(axis=1))
    pairs = []
    for place in np.flatnonzero(stands != OTHER):
        near = np.flatnonzero((iou[:, place] > overlap) & (own | ignored))
        columns = (near, iou[near, place], scores[near], ignored[near], cared_for[near])
        near_pairs = [_Pair(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
        pairs.append((bool(stands[place] == COUNTS), near_pairs))
    return _Image(objects, [pair for pair in pairs if pair[1]], scores[own & cared_for])


def _precisions(images: Sequence[_Image], objects: int) -> NDArray[np.float64]:
    """Return the best precision from each place on, (41,); 0 where no recall comes near it."""
    right = [pair.score for image in images for pair, is_hit in _taken(image, None) if is_hit]
    alone = np.sort(np.concatenate([image.scores for image in images]))
    precisions = np.zeros(PLACES)
    for place, least in enumerate(thresholds(np.array(right), objects)):
        hits = taken = 0
        for image in images:
            for pair, is_hit in _taken(image, least):
                hits += is_hit
                # What is in a region that nobody cares for was no false alarm before.
                taken += not pair.is_ignored and pair.is_cared_for
        wrong = len(alone) - int(np.searchsorted(alone, least)) - taken
        precisions[place] = hits / max(1, hits + wrong)
    best: NDArray[np.float64] = np.maximum.accumulate(precisions[::-1])[::-1]
    return best


def _taken(image: _Image, least: float | None) -> Iterator[tuple[_Pair, bool]]:
    """Yield the detection that each object takes, and whether that is a hit; a detection is taken once.

    Args:
        image: as it is judged.
        least: detections count from this score on, and the one that overlaps most is taken, those that are ignored
            last; None: the surest is taken, ignored or not, as where thresholds are looked for.
    """
    gone: set[int] = set()
    for counts, pairs in image.pairs:
        free = [pair for pair in pairs if pair.detection not in gone and (least is None or pair.score >= least)]
        if not free:
            continue
        if least is None:
            best = max(free, key=lambda pair: pair.score)
        else:
            ordinary = [pair for pair in free if not pair.is_ignored]
            best = max(ordinary, key=lambda pair: pair.iou) if ordinary else free[0]
        gone.add(best.detection)
        yield best, counts and not best.is_ignored


def _mean(precisions: NDArray[np.float64], interpolation: Literal[40, 11]) -> float:
    read = precisions[1:] if interpolation == 40 else precisions[::4]
    return float(read.sum() / interpolation)


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas


def _intersections(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas that boxes share, (len(some), len(others)); no pixel is added to a side."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    shared: NDArray[np.float64] = np.maximum(high - low, 0).prod(axis=2)
    return shared
