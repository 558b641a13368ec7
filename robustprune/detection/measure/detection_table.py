"""Detections as the columns of one table, in the terms of COCO's annotations; where it is kept is not known here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.measure.matching import Detections, of_known

COLUMNS: dict[str, type] = {
    "image_id": int,
    "attacked": bool,
    "x": np.float32,
    "y": np.float32,
    "width": np.float32,
    "height": np.float32,
    "score": np.float32,
    "category_id": int,
    "category": str,
}
"""One line per detection. Boxes are COCO's: left, top, width, height in pixels of the image as it is on disk."""


def detection_table(
    split: CocoSplit, *, clean: Sequence[Detections], attacked: Sequence[Detections]
) -> dict[str, NDArray[Any]]:
    """Return `COLUMNS` for detections on images of `split`, in their order: first on clean, then on attacked images.

    These are the detections that AP is of, boxes and scores to the last bit but for the rounding of a width. Those of
    classes that the split's file has no category for count in none, and are left out.
    """
    found = [of_known(split, one) for one in (*clean, *attacked)]
    counts = [len(one.scores) for one in found]
    under_attack = [False] * len(clean) + [True] * len(attacked)
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes.numpy() for one in found)])
    scores = np.concatenate([np.zeros(0, np.float32), *(one.scores.numpy() for one in found)])
    classes = np.concatenate([np.zeros(0, np.int64), *(one.classes.numpy() for one in found)])
    columns = (
        np.repeat(np.array([one.image_id for one in found], np.int64), counts),
        np.repeat(np.array(under_attack, np.bool_), counts),
        *boxes[:, :2].T,
        *(boxes[:, 2:] - boxes[:, :2]).T,
        scores,
        np.array(split.category_ids, np.int64)[classes],
        np.array(split.category_names, np.object_)[classes],
    )
    return dict(zip(COLUMNS, columns, strict=True))
