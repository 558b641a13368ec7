"""What there is in a split, in numbers: images, boxes and classes, and how large objects are to a network."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.kitti.levels import CLASSES, COUNTS, LEVELS, standing
from robustprune.detection.data.kitti.split import KittiSplit
from robustprune.detection.data.letterbox import Fit, place
from robustprune.detection.image_size import ImageSize


class Counts(NamedTuple):
    """How much there is of what in a split; crowds, which are never trained on, are counted apart.

    Attributes:
        images: all of them.
        empty: those without a box.
        boxes: without crowds.
        crowds: how many.
        most: boxes in one image.
        of_class: boxes of each class, shape (classes,).
    """

    images: int
    empty: int
    boxes: int
    crowds: int
    most: int
    of_class: NDArray[np.int64]


def counts(split: CocoSplit) -> Counts:
    """Count what there is in a split."""
    objects = split.objects
    single = ~objects.crowds
    per_image = np.bincount(objects.images[single], minlength=len(split))
    return Counts(
        images=len(split),
        empty=int((per_image == 0).sum()),
        boxes=int(single.sum()),
        crowds=int(objects.crowds.sum()),
        most=int(per_image.max(initial=0)),
        of_class=np.bincount(objects.classes[single], minlength=len(split.categories)),
    )


class LevelCount(NamedTuple):
    """How many objects of a class count at each of KITTI's levels; see `kitti.levels`."""

    name: str
    of_level: dict[str, int]


def level_counts(split: CocoSplit) -> list[LevelCount]:
    """Return the objects that count of each class; nothing of a split without levels."""
    if not isinstance(split, KittiSplit):
        return []
    labels = [split.labels[image_id] for image_id in split.image_ids]
    found = []
    for name in (name for name in split.category_names if name in CLASSES):
        of_level = {}
        for level in LEVELS:
            stands = [standing(of_image, name, level, pixel=split.pixel) for of_image in labels]
            of_level[level.name] = sum(int((each == COUNTS).sum()) for each in stands)
        found.append(LevelCount(name, of_level))
    return found


def box_sides(split: CocoSplit, size: ImageSize, fit: Fit) -> NDArray[np.float64]:
    """Return width and height of every box but crowds, in pixels of a network's input, shape (boxes, 2)."""
    pictures = [(image.width, image.height) for image in split.images]
    scales = {picture: place(*picture, size, fit)[2:4] for picture in set(pictures)}
    of_images = np.array([scales[picture] for picture in pictures]).reshape(-1, 2)
    single = ~split.objects.crowds
    found: NDArray[np.float64] = split.objects.bbox[single, 2:] * of_images[split.objects.images[single]]
    return found
