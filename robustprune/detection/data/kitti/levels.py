"""KITTI's three difficulties: which objects count at each, which are left alone, and which are something else.

Source: Geiger et al. (2012) and `evaluate_object.cpp` of the object development kit; an object exactly as high as a
level's minimum does not count, as in OpenPCDet.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from robustprune.detection.data.kitti.labels import Labels

KittiClass = Literal["Car", "Pedestrian", "Cyclist"]
"""What KITTI measures."""

CLASSES: tuple[KittiClass, ...] = get_args(KittiClass)

NEIGHBOURS = {"Car": "Van", "Pedestrian": "Person_sitting"}
"""So like a class that finding them is no mistake, and missing them neither."""


class Level(NamedTuple):
    """A difficulty.

    Attributes:
        height: objects count that are higher, in pixels of KITTI's pictures; detections that are lower do not.
        occluded: the most occluded objects that count, see `Labels`.
        truncated: the part of an object that may be outside the picture.
    """

    name: str
    height: float
    occluded: int
    truncated: float


LEVELS = (Level("easy", 40, 0, 0.15), Level("moderate", 25, 1, 0.30), Level("hard", 25, 2, 0.50))
"""Each has all objects of those before."""

COUNTS, IGNORED, OTHER = 0, 1, -1
"""An object is to be found; may be found or not; is nothing to a class."""


def standing(labels: Labels, class_: str, level: Level, *, pixel: float = 1.0) -> NDArray[np.int64]:
    """Return what each object is to a class at a level: `COUNTS`, `IGNORED` or `OTHER`, (N,).

    Args:
        labels: of a picture.
        class_: one of `CLASSES`.
        level: one of `LEVELS`.
        pixel: side of a pixel of the picture, in pixels of KITTI's pictures.
    """
    own, alike = labels.of_type(class_), labels.of_type(NEIGHBOURS.get(class_, ""))
    heights = (labels.boxes[:, 3] - labels.boxes[:, 1]) * pixel
    too_hard = (labels.occluded > level.occluded) | (labels.truncated > level.truncated) | (heights <= level.height)
    return np.where(own & ~too_hard, COUNTS, np.where(own | alike, IGNORED, OTHER))
