"""What a user names on a command line, opened and checked against each other: a detector, and images for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, load_weights
from robustprune.detection.data.coco import load_split
from robustprune.detection.data.samples import Colour, Samples
from robustprune.detection.data.subsets import take
from robustprune.detection.kept_models import KeptModel, load_model


def open_detector(config: str, weights: str) -> Detector:
    """Return a Darknet detector with its weights, in eval mode, on the GPU if there is one.

    Raises:
        InputError: a file is missing or wrong, or they do not belong together.
    """
    detector = Detector.from_cfg(config)
    load_weights(detector, weights)
    return _placed(detector).eval()


def open_model(path: str) -> KeptModel:
    """Return a model that a sweep has kept, on the GPU if there is one.

    Raises:
        InputError: the file is missing or wrong.
    """
    detector, spec = load_model(path)
    return KeptModel(_placed(detector), spec)


def square_side(detector: Detector, image_size: int | None) -> int:
    """Return the side of the squares to give the detector: `image_size`, or by default that of the .cfg.

    Raises:
        InputError: it is no multiple of the detector's stride, or the .cfg's images are no squares.
    """
    height, width = detector.image_size
    if image_size is None and height != width:
        raise InputError(
            f"the .cfg's images are {width}x{height} pixels, expected an image size (--image-size), "
            "the side of the squares to measure on"
        )
    side = image_size or width
    if side % detector.stride:
        raise InputError(f"the image size is {side}, expected a multiple of the detector's stride, {detector.stride}")
    return side


def open_samples(
    root: str,
    split: str,
    detector: Detector,
    *,
    classes: Sequence[str] | None = None,
    image_size: int,
    images: int | None = None,
    colour: Colour = "rgb",
) -> Samples:
    """Return a COCO split as the detector sees it: squares, of whatever size.

    Args:
        root: folder with annotations/instances_SPLIT.json and SPLIT/.
        split: such as val2017.
        detector: whose k-th class is the split's k-th category by id, as in all detectors trained on COCO.
        classes: names of the detector's classes, where they are known.
        image_size: side of the squares in pixels.
        images: how many to take, the first by id; by default all.
        colour: "rgb" or "greyscale".

    Raises:
        InputError: a file is missing or wrong, or the detector has another number of classes, or others.
    """
    found = load_split(Path(root), split)
    count, names = detector.heads[0].classes, found.category_names
    if count != len(names):
        raise InputError(f"{root}: {split} has {len(names)} categories, the detector has {count} classes")
    for name, own in zip(names, classes or names, strict=True):
        if name != own:
            raise InputError(f"{root}: {split} has the category {name!r}, the detector has the class {own!r} there")
    if images is not None:
        found = take(found, range(min(images, len(found))))
    return Samples(found, image_size=image_size, colour=colour)


def _placed(detector: Detector) -> Detector:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return detector.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
