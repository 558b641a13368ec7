"""Average precision and recall taken apart by class and by size of objects: COCO's other figures are means of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.measure.average_precision import precision_of_samples
from robustprune.detection.measure.matching import SIZES, Matches

RECALLED = (1, 10, 100)
"""The numbers of detections, the surest of an image and class, whose recall COCO tells."""


class Line(NamedTuple):
    """How well the objects of a class and size are found, in [0, 1]; there is at least one.

    Attributes:
        size: One of `matching.SIZES`.
        class_: From 0.
        objects: How many there are.
        ap: Average precision over IoU thresholds 0.50 to 0.95.
        ap50: At IoU 0.50.
        ap75: At IoU 0.75.
        ar_1: Recall over thresholds of the surest detection of each image.
        ar_10: Of the surest ten.
        ar_100: Of the surest hundred, or as many as count.
    """

    size: str
    class_: int
    objects: int
    ap: float
    ap50: float
    ap75: float
    ar_1: float
    ar_10: float
    ar_100: float


COLUMNS: dict[str, type] = {
    "attacked": bool,
    "size": str,
    "category_id": int,
    "category": str,
    "objects": int,
    **dict.fromkeys(Line._fields[3:], float),
}
"""Of a row's table: a line per class and size that have objects, of clean and of attacked images."""


def breakdown(by_size: Mapping[str, Sequence[Matches]]) -> list[Line]:
    """Return a line for each size and class that have objects; see `matching.matched_by_size`.

    Source: Lin et al., Microsoft COCO (2014); means over classes are those of `COCOeval.summarize()`.
    """
    lines = []
    for size, matches in by_size.items():
        for class_, of_class in enumerate(matches):
            objects = int(of_class.objects.sum())
            if objects:
                (precision,) = precision_of_samples([of_class], np.ones((1, len(of_class.objects)), dtype=np.int32))
                precisions = (float(precision.mean()), float(precision[0]), float(precision[5]))
                recalls = (_recall(of_class, first, objects) for first in RECALLED)
                lines.append(Line(size, class_, objects, *precisions, *recalls))
    return lines


def means(lines: Sequence[Line]) -> dict[str, float | None]:
    """Return COCO's figures beside AP: AP by size, recall, recall by size; None where there is nothing of a size."""
    figures = {f"ap_{size}": _mean(lines, size, "ap") for size in SIZES if size != "all"}
    figures |= {f"ar_{first}": _mean(lines, "all", f"ar_{first}") for first in RECALLED}
    return figures | {f"ar_{size}": _mean(lines, size, f"ar_{RECALLED[-1]}") for size in SIZES if size != "all"}


def breakdown_table(split: CocoSplit, *, clean: Sequence[Line], attacked: Sequence[Line]) -> dict[str, NDArray[Any]]:
    """Return `COLUMNS`: first the lines of clean, then those of attacked images."""
    lines = [*clean, *attacked]
    columns: dict[str, list[Any]] = {
        "attacked": [False] * len(clean) + [True] * len(attacked),
        "size": [line.size for line in lines],
        "category_id": [split.category_ids[line.class_] for line in lines],
        "category": [split.category_names[line.class_] for line in lines],
        **{name: [getattr(line, name) for line in lines] for name in [*COLUMNS][4:]},
    }
    return {
        name: np.array(column, np.object_ if COLUMNS[name] is str else COLUMNS[name])
        for name, column in columns.items()
    }


def _recall(matches: Matches, first: int, objects: int) -> float:
    """Return the part of the objects that the surest `first` detections of each image find, over thresholds."""
    # The surest are first in all images together, and so within each.
    order = np.argsort(matches.image, kind="stable")
    images = matches.image[order]
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.searchsorted(images, images)
    return float(matches.hits[:, rank < first].sum(axis=1).mean() / objects)


def _mean(lines: Sequence[Line], size: str, name: str) -> float | None:
    values = [getattr(line, name) for line in lines if line.size == size]
    return float(np.mean(values)) if values else None
