"""COCO average precision of matched detections, of all images once, or of any number of samples of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustprune.detection.measure.matching import THRESHOLDS, Matches

RECALLS = np.linspace(0, 1, 101)
"""Where precision is read."""

LARGEST = 2**22
"""Numbers of an array that holds detections of several samples: so many are in memory at a time."""


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


def average_precision(matches: Sequence[Matches]) -> AveragePrecision:
    """Return the AP of detections on all images of a split; nothing detected, or nothing to detect, gives 0.

    Source: Lin et al., Microsoft COCO (2014); `COCOeval.summarize()` gives the same first three figures.
    """
    images = len(matches[0].objects) if matches else 0
    (by_threshold,) = precision_of_samples(matches, np.ones((1, images), dtype=np.int32))
    return AveragePrecision(float(by_threshold.mean()), float(by_threshold[0]), float(by_threshold[5]))


def precision_of_samples(matches: Sequence[Matches], weights: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the mean precision over classes and recalls by IoU threshold, of samples of the images.

    It is `COCOeval.accumulate` of a data set in which each image occurs as often as its weight says.

    Args:
        matches: of each class.
        weights: how often an image is in a sample, (samples, images).

    Returns:
        (samples, 10); 0 where a sample has nothing to be found.
    """
    totals = np.zeros((len(weights), THRESHOLDS))
    present = np.zeros((len(weights), 1))
    for of_class in matches:
        together = max(1, LARGEST // max(1, len(of_class.image)))
        for start in range(0, len(weights), together):
            part = slice(start, start + together)
            objects = weights[part] @ of_class.objects
            present[part] += objects[:, None] > 0
            totals[part] += _of_class(of_class, weights[part], objects)
    return totals / np.maximum(present, 1)


def _of_class(matches: Matches, weights: NDArray[np.int32], objects: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean precision over recalls of one class, (samples, 10), 0 without objects.

    Precision and recall are looked at where there are hits alone: between them recall stands still and precision falls.
    """
    found = np.zeros((len(weights), THRESHOLDS))
    copies = weights[:, matches.image]
    so_far = np.cumsum(copies, axis=1, dtype=np.int32)
    for threshold, (hits, counted) in enumerate(zip(matches.hits, matches.counted, strict=True)):
        places = np.flatnonzero(hits)
        if not len(places):
            continue
        every = so_far[:, places]
        ignored = np.flatnonzero(~counted)
        if len(ignored):
            left_out = np.cumsum(copies[:, ignored], axis=1, dtype=np.int32)
            every -= np.pad(left_out, ((0, 0), (1, 0)))[:, np.searchsorted(ignored, places)]
        right = np.cumsum(copies[:, places], axis=1, dtype=np.int32)
        recall = right / np.maximum(objects, 1)[:, None]
        precision = right / (every + np.spacing(1))
        best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = np.searchsorted(RECALLS, recall, side="right")
        newly = np.diff(reached, axis=1, prepend=0)
        found[:, threshold] = (best_from_here * newly).sum(axis=1) / len(RECALLS)
    return np.where(objects[:, None] > 0, found, 0)
