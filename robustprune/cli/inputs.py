"""What a user names on a command line, opened and checked against each other: a detector, and images for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from robustprune.core.errors import InputError
from robustprune.core.images.reading import Exif
from robustprune.detection.darknet import Detector, load_weights
from robustprune.detection.data.coco import CocoSplit, load_split
from robustprune.detection.data.samples import Colour, Samples
from robustprune.detection.data.subsets import take
from robustprune.detection.kept_models import KeptModel, load_model


class SplitFiles(NamedTuple):
    """Where a split is, as named on a command line.

    Attributes:
        root: Folder in a layout that `detection.data.layouts` knows; None where annotations are given.
        split: Such as val2017.
        annotations: Its annotation file; None to find it.
        images: The folder of its pictures; None to find it.
        exif: Whether pictures are turned as their metadata says.
    """

    root: str | None
    split: str
    annotations: str | None = None
    images: str | None = None
    exif: Exif = "ignore"


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


def open_split(files: SplitFiles, *, images: int | None = None, with_pictures: bool = True) -> CocoSplit:
    """Return a split, or its first so many images by id.

    Raises:
        InputError: a file is missing or wrong, or none is named.
    """
    if files.root is None and files.annotations is None:
        raise InputError("expected --coco, the folder of a data set, or --annotations")
    root = Path(files.root) if files.root is not None else Path(files.annotations or "").parent
    found = load_split(
        root,
        files.split,
        annotations=files.annotations,
        images=files.images,
        exif=files.exif,
        with_pictures=with_pictures,
    )
    return found if images is None else take(found, range(min(images, len(found))))


def open_samples(
    files: SplitFiles,
    detector: Detector,
    *,
    classes: Sequence[str] | None = None,
    image_size: int,
    images: int | None = None,
    colour: Colour = "rgb",
) -> Samples:
    """Return a COCO split as the detector sees it: squares, of whatever size.

    Args:
        files: where the split is.
        detector: whose k-th class is the split's k-th category by id, as in all detectors trained on COCO.
        classes: names of the detector's classes, where they are known.
        image_size: side of the squares in pixels.
        images: how many to take, the first by id; by default all.
        colour: "rgb" or "greyscale".

    Raises:
        InputError: a file is missing or wrong, or the detector has another number of classes, or others.
    """
    found = open_split(files, images=images)
    count, names = detector.heads[0].classes, found.category_names
    if count != len(names):
        raise InputError(f"{found.source}: found {len(names)} categories, the detector has {count} classes")
    for name, own in zip(names, classes or names, strict=True):
        if name != own:
            raise InputError(f"{found.source}: found the category {name!r}, the detector has the class {own!r} there")
    return Samples(found, image_size=image_size, colour=colour)


def _placed(detector: Detector) -> Detector:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return detector.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
