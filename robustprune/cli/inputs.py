"""What a user names on a command line, opened and checked against each other: a detector, and images for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click
import torch

from robustprune import staging
from robustprune.core.errors import InputError
from robustprune.core.images.reading import Exif
from robustprune.detection import darknet
from robustprune.detection.data.classes import (
    Arranged,
    by_name,
    groups_remark,
    in_both,
    paired_by_position,
    without_groups,
)
from robustprune.detection.data.coco import CocoSplit, fetch_pictures, load_split
from robustprune.detection.data.coco_json import RepeatedFiles
from robustprune.detection.data.kitti.files import folder_of, listed_in
from robustprune.detection.data.kitti.levels import CLASSES, KittiClass
from robustprune.detection.data.kitti.split import KittiSplit, load_pictures
from robustprune.detection.data.kitti.streets import pixel_of
from robustprune.detection.data.layouts import root_of
from robustprune.detection.data.letterbox import Fit
from robustprune.detection.data.samples import Colour, Samples
from robustprune.detection.data.subsets import take
from robustprune.detection.detector import Detector
from robustprune.detection.image_size import ImageSize, in_words, sides, smallest
from robustprune.detection.kept_models import KeptModel, load_model


@dataclass(frozen=True, kw_only=True)
class SplitFiles:
    """Where a split is, as named on a command line.

    Attributes:
        root: Folder in a layout that `detection.data.layouts` knows; None where annotations are given.
        kitti: In place of these, a folder in KITTI's format.
        kitti_classes: What is to be found there; None for what the detector knows by name, or cars.
        split: Such as val2017; of KITTI's a file that lists pictures. None for val2017, and all pictures.
        annotations: Its annotation file; None to find it.
        images: The folder of its pictures; None to find it.
        exif: Whether pictures are turned as their metadata says.
        repeated_files: Whether one file may be several images.
    """

    root: str | None = None
    kitti: str | None = None
    kitti_classes: tuple[KittiClass, ...] | None = None
    split: str | None = None
    annotations: str | None = None
    images: str | None = None
    exif: Exif = "ignore"
    repeated_files: RepeatedFiles = "refuse"


def open_detector(config: str, weights: str) -> darknet.Detector:
    """Return a Darknet detector with its weights, in eval mode, on the GPU if there is one.

    Raises:
        InputError: a file is missing or wrong, or they do not belong together.
    """
    detector = darknet.Detector.from_cfg(config)
    with staging.told_by_uri():
        darknet.load_weights(detector, staging.local(weights, "--weights"))
    return _placed(detector).eval()


def open_model(path: str) -> KeptModel:
    """Return a model that a sweep has kept, on the GPU if there is one.

    Raises:
        InputError: the file is missing or wrong.
    """
    detector, spec = load_model(staging.local(path, "--model"))
    return KeptModel(_placed(detector), spec)


class SizeType(click.ParamType[ImageSize]):
    """A size in pixels: `416`, the side of a square, or `320x192`, the width first."""

    name = "N or WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ImageSize:
        """Return the size, or complain."""
        numbers = re.fullmatch(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4}))?", str(value))
        if numbers is None:
            self.fail(f"{value!r} is no size, expected a number of pixels, or two: 416, 320x192", param, ctx)
        width, height = numbers.groups()
        return smallest(int(height or width), int(width))


class KittiClassesType(click.ParamType[tuple[KittiClass, ...]]):
    """Classes of KITTI's, with commas between."""

    name = "CLASS,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[KittiClass, ...]:
        """Return the classes in their order, or complain."""
        given = str(value).split(",")
        for name in given:
            if name not in CLASSES:
                self.fail(f"{name!r} is no such class, expected some of {', '.join(CLASSES)}", param, ctx)
        return tuple(name for name in CLASSES if name in given)


class UnitType(click.ParamType[float]):
    """A number of (0, 1], which may be written as a quotient: `8/255`."""

    name = "X or A/B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or complain."""
        dividend, slash, divisor = str(value).partition("/")
        try:
            found = float(dividend) / float(divisor) if slash else float(value)
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is no number, expected one such as 0.03 or 8/255", param, ctx)
        if not 0 < found <= 1:
            self.fail(f"{value} is not in the range 0<x<=1.", param, ctx)
        return found


def checked_size(detector: Detector, image_size: ImageSize | None) -> ImageSize:
    """Return the size of the images to give the detector: `image_size`, or by default that it was made for.

    Raises:
        InputError: a side is no multiple of the detector's stride.
    """
    size = smallest(*detector.image_size) if image_size is None else image_size
    if any(side % detector.stride for side in sides(size)):
        found = size if isinstance(size, int) else in_words(size)
        raise InputError(f"the image size is {found}, expected a multiple of the detector's stride, {detector.stride}")
    return size


def read_split(
    files: SplitFiles,
    *,
    images: int | None = None,
    with_pictures: bool = True,
    names: Sequence[str] | None = None,
) -> CocoSplit:
    """Return a split as its files have it, or its first so many images by id; of KITTI's, with the classes that are
    among `names`, unless others are asked for.

    Raises:
        InputError: a file is missing or wrong, or none is named, or two data sets are.
    """
    if files.kitti is not None:
        found: CocoSplit = _read_kitti(files, files.kitti, names)
    else:
        found = _read_coco(files, with_pictures=with_pictures)
    return found if images is None else take(found, range(min(images, len(found))))


@staging.told_by_uri()
def _read_kitti(files: SplitFiles, given: str, names: Sequence[str] | None) -> KittiSplit:
    for option, value in (
        ("--coco", files.root),
        ("--annotations", files.annotations),
        ("--image-folder", files.images),
    ):
        if value is not None:
            raise InputError(f"{option}: found {value} beside --kitti, expected one data set")
    classes = files.kitti_classes or (CLASSES[:1] if names is None else in_both(CLASSES, names))
    if not classes:
        raise InputError(
            f"--kitti: found none of {', '.join(CLASSES)} among the detector's {len(names or ())} classes, expected one"
        )
    root = staging.opened(given, "--kitti")
    folder = folder_of(root)
    stems = [*folder.pictures] if files.split is None else listed_in(root, files.split, "--split", folder)
    source = staging.shown(root).rstrip("/")
    return load_pictures(folder, stems, source=source, classes=classes, hides=False, pixel=pixel_of(root))


def _read_coco(files: SplitFiles, *, with_pictures: bool) -> CocoSplit:
    if files.kitti_classes is not None:
        raise InputError("--kitti-classes: expected --kitti with it")
    if files.root is None and files.annotations is None:
        raise InputError("expected --coco or --kitti, the folder of a data set, or --annotations")
    root = (
        staging.opened(files.root, "--coco")
        if files.root is not None
        else root_of(staging.opened(files.annotations or "", "--annotations"))
    )
    return load_split(
        root,
        "val2017" if files.split is None else files.split,
        annotations=files.annotations,
        images=files.images,
        exif=files.exif,
        repeated_files=files.repeated_files,
        with_pictures=with_pictures,
    )


def open_split(files: SplitFiles, *, classes: int, names: Sequence[str] | None = None) -> Arranged:
    """Return a COCO split whose classes are the detector's, and remarks on how that came about.

    Args:
        files: where the split is.
        classes: of the detector, how many: without names, its k-th is the split's k-th category by id.
        names: of the detector's classes, where they are known: categories are matched by name.

    Raises:
        InputError: a file is missing or wrong, or none is named, or the detector has another number of classes, or
            others.
    """
    found = read_split(files, names=names)
    if names is not None:
        if len(names) != classes:
            raise InputError(
                f"--names: found {len(names)} names, expected {classes}, one for each of the detector's classes"
            )
        return by_name([found], names)
    if len(found.categories) != classes:
        # A detector that learnt a mere group of categories beside them has a class for it.
        (found,) = without_groups(found)
    if len(found.categories) != classes:
        raise InputError(
            f"{found.source}: found {len(found.categories)} categories, the detector has {classes} classes (with their "
            "names, --names, categories are matched by name)"
        )
    remarks = [groups_remark(found), f"{paired_by_position(found)} (--names FILE)"]
    return Arranged((found,), tuple(remark for remark in remarks if remark is not None))


def open_samples(
    split: CocoSplit,
    detector: Detector,
    *,
    image_size: ImageSize,
    fit: Fit,
    images: int | None = None,
    colour: Colour = "rgb",
) -> Samples:
    """Return a split as the detector sees it.

    Args:
        split: of its classes.
        detector: which reads it.
        image_size: of the images in pixels.
        fit: how pictures are brought to that size.
        images: how many to take, the first by id; by default all.
        colour: "rgb" or "greyscale".

    Raises:
        InputError: the detector reads images that are neither coloured nor grey, or one cannot be copied from a bucket.
    """
    if images is not None:
        split = take(split, range(min(images, len(split))))
    fetch_pictures(split)
    return Samples(split, image_size=image_size, colour=colour, fit=fit, channels=detector.channels)


_Any = TypeVar("_Any", bound=Detector)


def _placed(detector: _Any) -> _Any:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return detector.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
