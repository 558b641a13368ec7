"""COCO average precision of matched detections, of all images once, or of any number of samples of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from robustprune.detection.measure.matching import THRESHOLDS, Matches

RECALLS = np.linspace(0, 1, 101)
"""Where precision is read."""

LARGEST = 2**17
"""Numbers of an array that holds detections of several samples: so many, a megabyte, stay in a processor's cache."""


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
    # Samples side by side in memory: what is done for one detection is done for all of them at once.
    by_image = np.ascontiguousarray(weights.T)
    for of_class in matches:
        with_objects = np.flatnonzero(of_class.objects)
        objects = weights[:, with_objects] @ of_class.objects[with_objects]
        present += objects[:, None] > 0
        places = np.flatnonzero(of_class.hits.any(axis=0))
        if not len(places):
            continue
        seen = _seen(of_class, places)
        together = max(1, LARGEST // len(places))
        for start in range(0, len(weights), together):
            part = slice(start, start + together)
            totals[part] += _of_class(of_class, places, seen, by_image[:, part], objects[part])
    return totals / np.maximum(present, 1)


def _seen(matches: Matches, places: NDArray[np.int64]) -> sparse.csr_array:
    """Return how many detections of an image come after one of `places`, up to the next, (places, images)."""
    seen = matches.image[: places[-1] + 1]
    rows = np.searchsorted(places, np.arange(len(seen)))
    shape = (len(places), len(matches.objects))
    return sparse.csr_array((np.ones(len(seen), dtype=np.int32), (rows, seen)), shape=shape)


def _of_class(
    matches: Matches,
    places: NDArray[np.int64],
    seen: sparse.csr_array,
    weights: NDArray[np.int32],
    objects: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the mean precision over recalls of one class, (samples, 10), 0 without objects.

    Precision and recall are looked at where there are hits alone: between them recall stands still and precision falls.

    Args:
        matches: of the class.
        places: of its detections that are hits at any threshold.
        seen: see `_seen`.
        weights: how often an image is in a sample, (images, samples).
        objects: how many there are in a sample, (samples,).
    """
    found = np.zeros((len(objects), THRESHOLDS))
    so_far = np.cumsum(seen @ weights, axis=0, dtype=np.int32)
    for threshold, (hits, counted) in enumerate(zip(matches.hits, matches.counted, strict=True)):
        own = np.flatnonzero(hits[places])
        if not len(own):
            continue
        every = so_far[own]
        ignored = np.flatnonzero(~counted)
        if len(ignored):
            left_out = np.cumsum(weights[matches.image[ignored]], axis=0, dtype=np.int32)
            every -= np.pad(left_out, ((1, 0), (0, 0)))[np.searchsorted(ignored, places[own])]
        right = np.cumsum(weights[matches.image[places[own]]], axis=0, dtype=np.int32)
        precision = right / (every + np.spacing(1))
        best_from_here = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        reached = _recalls_reached(right / np.maximum(objects, 1))
        newly = np.diff(reached, axis=0, prepend=0)
        found[:, threshold] = (best_from_here * newly).sum(axis=0) / len(RECALLS)
    return np.where(objects[:, None] > 0, found, 0)


def _recalls_reached(recall: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many of `RECALLS` are at most so large: `searchsorted` on the right, by arithmetic."""
    nearest = np.rint(recall * (len(RECALLS) - 1)).astype(np.int64)
    return nearest + (RECALLS[nearest] <= recall)
