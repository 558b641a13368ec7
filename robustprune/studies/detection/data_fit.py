"""Whether data, detector and trainings fit each other: what else stands between a data set and a first curve.

What cannot be read is found in `checks`; all here can be computed, to no avail.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from robustprune.core.errors import InputError
from robustprune.detection import networks
from robustprune.detection.anchors.detector import AnchorDetector
from robustprune.detection.darknet import cfg
from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.description import Counts, box_sides, counts
from robustprune.detection.detector import Detector
from robustprune.detection.image_size import ImageSize, in_words
from robustprune.detection.losses.assignment import MAX_SIDE_RATIO
from robustprune.studies.caveats import few_images
from robustprune.studies.cpu_time import too_slow
from robustprune.studies.detection.inputs import arranged, network_input
from robustprune.studies.detection.settings import DetectionSettings
from robustprune.studies.detection.work import scale, stage_work
from robustprune.studies.in_words import listed

MOST_UNREACHED = 0.1
"""Part of the boxes that may be out of reach of every anchor without a sentence: YOLOv3's leave .015 of COCO's so."""

ROUNDS = 30
"""Of k-means, in which anchors have long settled."""

MOST_BELOW_A_CELL = 0.5
MOST_BELOW_A_PIXEL = 0.02
"""Parts of the boxes that may be so small without a sentence; of COCO's at 416 pixels .05 and .001 are."""


def unreached(boxes: NDArray[np.float64], anchors: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say of boxes whether every anchor differs from them so much that none is trained to find them.

    Args:
        boxes: widths and heights in pixels of the network's input, shape (boxes, 2).
        anchors: likewise, of all heads, shape (anchors, 2).
    """
    ratios = boxes[:, None] / anchors
    found: NDArray[np.bool_] = np.maximum(ratios, 1 / ratios).max(axis=2).min(axis=1) >= MAX_SIDE_RATIO
    return found


def fitting_anchors(boxes: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return so many anchors that suit boxes, in the order of their area: k-means of the logarithms of their sides.

    Of these, as what decides whether an anchor is trained to find a box is the ratio of their sides.

    Args:
        boxes: widths and heights in pixels, shape (boxes, 2), at least one.
        count: of the anchors.
    """
    sides = np.log(boxes)
    centres = sides.mean(axis=0)[None]
    while len(centres) < count:  # from the box that is farthest from those there are, so that nothing is drawn
        distances = ((sides[:, None] - centres) ** 2).sum(axis=2).min(axis=1)
        centres = np.vstack([centres, sides[distances.argmax()]])
    for _ in range(ROUNDS):
        nearest = ((sides[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        for number in range(count):
            if (nearest == number).any():
                centres[number] = sides[nearest == number].mean(axis=0)
    found: NDArray[np.float64] = np.exp(centres)
    return found[np.argsort(found.prod(axis=1), kind="stable")]


def whole_anchors(boxes: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return `fitting_anchors` in whole pixels."""
    return np.maximum(1, np.rint(fitting_anchors(boxes, count)))


def as_in_a_cfg(anchors: NDArray[np.float64]) -> str:
    """Return anchors as a .cfg lists them, the smallest first."""
    ordered = anchors[np.argsort(anchors.prod(axis=1), kind="stable")]
    return ", ".join(f"{width:.0f},{height:.0f}" for width, height in ordered)


def anchors_of(detector: AnchorDetector) -> NDArray[np.float64]:
    """Return widths and heights of the anchors of all heads, in pixels of the network's input."""
    return np.concatenate([head.anchors.cpu().numpy() for head in detector.heads]).astype(np.float64)


def fit_remarks(settings: DetectionSettings, detector: Detector, *, on_cpu: bool) -> list[str]:
    """Return sentences on what can be computed and yet makes no curve.

    Args:
        settings: of the study.
        detector: of these settings, on the CPU.
        on_cpu: there is no GPU here.

    Raises:
        InputError: a split has no boxes at all.
    """
    splits, read = arranged(settings).splits, network_input(settings)
    train, val = splits
    found = [counts(split) for split in splits]
    for split, of_split, use in zip(splits, found, ("to train on", "to measure on"), strict=True):
        if not of_split.boxes:
            raise InputError(
                f"{split.source}: found no box in {of_split.images} images {use}, expected some: is it the file with "
                "the annotations?"
            )
    return [
        *_of_classes(train, val, *found),
        *_of_boxes(train, detector, read.size, box_sides(train, read.size, read.fit), settings.detector.config),
        *few_images({"base": settings.base, "pretrain": settings.pretrain, "finetune": settings.finetune}, len(train)),
        *_of_time(settings, on_cpu=on_cpu),
    ]


def classes_differ(settings: DetectionSettings) -> str | None:
    """Return how many classes the .cfg is of and how many the data has, if that may be why weights do not fit."""
    config, names = settings.detector.config, arranged(settings).splits[0].category_names
    if networks.is_named(config):
        return None
    said = [each.integer("classes", minimum=1) for each in cfg.read(config) if "classes" in each.options]
    if not said or said[-1] == len(names):
        return None
    return (
        f"the .cfg is of {said[-1]} classes, and the data has {len(names)} ({listed(names)}): detector.names matches "
        "those of the detector by name, and detector.weights_cutoff starts a training from the layers before the heads"
    )


def _of_classes(train: CocoSplit, val: CocoSplit, trained: Counts, measured: Counts) -> Iterator[str]:
    names, added = np.array(train.category_names), {category.id for category in train.added}
    own = np.array([category.id not in added for category in train.categories])
    never = own & (trained.of_class == 0)
    if never.any():
        lost = int(measured.of_class[never].sum())
        measured_too = [str(name) for name in names[never & (measured.of_class > 0)]]
        told = (
            f"; {val.source} has {lost} {'boxes' if lost > 1 else 'box'} of {listed(measured_too)}, which no training "
            "here sees"
            if lost
            else " and none to measure on"
        )
        yield (
            f"{train.source}: no box to train on of {never.sum()} of the {own.sum()} classes, {listed(names[never])}"
            f"{told}"
        )
    unmeasured = own & (trained.of_class > 0) & (measured.of_class == 0)
    if unmeasured.any():
        yield (
            f"{val.source}: no box to measure on of {unmeasured.sum()} of the {own.sum()} classes, "
            f"{listed(names[unmeasured])}: they are no part of average precision"
        )
    for split, of_split in ((train, trained), (val, measured)):
        if of_split.empty > of_split.images / 2:
            yield f"{split.source}: {of_split.empty} of {of_split.images} images have no box"


def _of_boxes(
    train: CocoSplit, detector: Detector, size: ImageSize, boxes: NDArray[np.float64], config: str
) -> Iterator[str]:
    cell = detector.cell
    tiny, small = (boxes < 1).any(axis=1).mean(), (boxes < cell).all(axis=1).mean()
    if small > MOST_BELOW_A_CELL or tiny > MOST_BELOW_A_PIXEL:
        below = f"{small:.0%} of the boxes to train on are smaller than a cell of {cell} pixels"
        below += f" and {tiny:.1%} thinner than a pixel" if tiny > MOST_BELOW_A_PIXEL else ""
        yield f"detector.image_size: at {in_words(size)} {below}, expected larger images, or parts of them"
    if not isinstance(detector, AnchorDetector):
        return
    out = unreached(boxes, anchors_of(detector)).mean()
    if out > MOST_UNREACHED:
        anchors = anchors_of(detector)
        better = whole_anchors(boxes, len(anchors))
        remedy = "another network"
        if not networks.is_named(config):
            left = unreached(boxes, better).mean()
            remedy = f"a copy of {cfg.place_of(config)} with anchors={as_in_a_cfg(better)}, which leave {left:.0%}"
        width, height = np.median(boxes, axis=0)
        yield (
            f"{train.source}: at {in_words(size)} {out:.0%} of the boxes to train on are {MAX_SIDE_RATIO:g} times as "
            f"large or as small as every anchor ({as_in_a_cfg(anchors)}; the median box is {width:.0f},{height:.0f}), "
            f"so that nothing is trained to find them: another detector.image_size, or {remedy}"
        )


def _of_time(settings: DetectionSettings, *, on_cpu: bool) -> list[str]:
    work = stage_work(settings, scale(settings))
    operations = sum(part.operations for stage in ("base", "pretrain") for part in work[stage])
    return too_slow(operations, fields="dataset.train_images, epochs or detector.image_size", on_cpu=on_cpu)
