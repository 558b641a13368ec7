"""How far average precision would move on other images of the same sort: a bootstrap over images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from robustprune.detection.measure.average_precision import precision_of_samples
from robustprune.detection.measure.matching import Matches

DRAWS = 500
SEED = 0
"""The same samples for every detector: what differs between intervals of one split is the detectors' doing."""

COVERAGE = 95
"""Per cent."""


class Interval(NamedTuple):
    """The ends of an interval."""

    low: float
    high: float


class Intervals(NamedTuple):
    """Of AP over IoU thresholds, and of AP at IoU 0.50."""

    ap: Interval
    ap50: Interval


def intervals(matches: Sequence[Matches], *, draws: int = DRAWS) -> Intervals:
    """Return 95% percentile intervals (Efron 1979) of AP over samples of the images, drawn with replacement.

    Each sample has as many images as the split. The network is the same in all: training it again moves AP as well,
    which only several seeds show.
    """
    images = len(matches[0].objects) if matches else 0
    drawn = np.random.default_rng(SEED).integers(max(1, images), size=(draws, images))
    drawn += images * np.arange(draws)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=draws * images).reshape(draws, images).astype(np.int32)
    by_threshold = precision_of_samples(matches, weights)
    ends = [(100 - COVERAGE) / 2, (100 + COVERAGE) / 2]
    (ap_low, ap50_low), (ap_high, ap50_high) = np.percentile(
        np.stack([by_threshold.mean(axis=1), by_threshold[:, 0]], axis=1), ends, axis=0
    ).tolist()
    return Intervals(Interval(ap_low, ap_high), Interval(ap50_low, ap50_high))
