"""A split in KITTI's format as any detector is trained and measured on it, and what KITTI's own measure needs.

To COCO's measure, regions that nobody cares for and neighbours of a class are crowds of it: found or not, they count
for nothing. To a detector in training they would be background, which they are not: there they are painted over.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustprune import staging
from robustprune.core.errors import InputError
from robustprune.core.images.reading import picture_size
from robustprune.detection.data.boxes import ROUNDING, clip
from robustprune.detection.data.coco import CocoSplit, Objects
from robustprune.detection.data.coco_json import CategoryRecord, ImageRecord
from robustprune.detection.data.kitti.files import LABELS, PICTURES, Folder
from robustprune.detection.data.kitti.labels import DONT_CARE, Labels, read_folder
from robustprune.detection.data.kitti.levels import CLASSES, NEIGHBOURS, KittiClass
from robustprune.detection.data.letterbox import PADDING

GREY = round(255 * PADDING)
"""What is painted over; the grey around letterboxed pictures."""


@dataclass(frozen=True, eq=False)
class KittiSplit(CocoSplit):
    """A split whose objects are easy, moderate or hard.

    Attributes:
        labels: of each picture, by its id: all that its file says.
        pixel: side of a pixel in pixels of KITTI's pictures, which heights are told in.
        hides: what is neither an object of a class nor background is painted over.
    """

    labels: Mapping[int, Labels] = field(default_factory=dict)
    pixel: float = 1.0
    hides: bool = False

    def image(self, index: int) -> Image.Image:
        """Read an image; see `CocoSplit.image`."""
        picture = super().image(index)
        if not self.hides:
            return picture
        labels = self.labels[self.image_ids[index]]
        return painted_over(picture, labels.boxes[_unclear(labels, self.category_names)], spared=self.boxes(index))

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what is trained on or measured, levels among that; see `CocoSplit.fingerprint`."""
        digest = hashlib.sha256(super().fingerprint.encode())
        digest.update(repr((self.pixel, self.hides)).encode())
        for image_id in self.image_ids:
            labels = self.labels[image_id]
            digest.update(repr(labels.types).encode())
            for column in labels[1:]:
                digest.update(column.tobytes())
        return digest.hexdigest()


def load_pictures(
    folder: Folder, stems: Sequence[str], *, source: str, classes: Sequence[KittiClass], hides: bool, pixel: float = 1.0
) -> KittiSplit:
    """Load a split; of its pictures the sizes are read.

    Args:
        folder: of pictures and labels.
        stems: the names of the pictures without their endings, in the order of their numbers.
        source: what the split is called in messages.
        classes: that are to be found.
        hides: see `KittiSplit`.
        pixel: likewise.

    Raises:
        InputError: a file is missing or damaged, or a label is wrong, or of a picture of another size.
    """
    labels = read_folder(folder.path / LABELS, stems)
    paths = [folder.path / PICTURES / folder.pictures[stem] for stem in stems]
    staging.fetch(paths)
    images = tuple(
        ImageRecord(int(stem), path.name, *picture_size(path)) for stem, path in zip(stems, paths, strict=True)
    )
    for stem, of_image, image in zip(stems, labels, images, strict=True):
        _check_size(of_image, image, folder.path / LABELS / f"{stem}.txt")
    categories = tuple(CategoryRecord(1 + CLASSES.index(name), name) for name in CLASSES if name in classes)
    objects, mended = _objects(labels, images, [category.name for category in categories])
    return KittiSplit(
        source=source,
        categories=categories,
        images=images,
        folders=(folder.path / PICTURES,) * len(images),
        objects=objects,
        mended=mended,
        labels={image.id: of_image for image, of_image in zip(images, labels, strict=True)},
        pixel=pixel,
        hides=hides,
    )


def _check_size(labels: Labels, image: ImageRecord, path: Path) -> None:
    """Check that every object is in its picture: it is not where pictures were resized without their labels.

    Raises:
        InputError: one is not.
    """
    left, top, right, bottom = labels.boxes.T
    outside = (left >= image.width) | (top >= image.height) | (right < 0) | (bottom < 0)
    for number in np.flatnonzero(outside & ~labels.of_type(DONT_CARE))[:1]:
        raise InputError(
            f"{path}: object {number + 1}, a {labels.types[number]}: found the box {labels.boxes[number].tolist()}, "
            f"expected one in its picture of {image.width}x{image.height} pixels"
        )


def painted_over(picture: Image.Image, regions: NDArray[np.floating], *, spared: NDArray[np.floating]) -> Image.Image:
    """Return a picture with regions in grey, but for the pixels of what is spared.

    Args:
        picture: RGB.
        regions: left, top, right, bottom in pixels, (N, 4).
        spared: likewise.
    """
    if not len(regions):
        return picture
    pixels = np.array(picture)
    hidden = np.zeros(pixels.shape[:2], dtype=np.bool_)
    for boxes, covers in ((regions, True), (spared, False)):
        for left, top, right, bottom in boxes:
            rows, columns = slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right)))
            hidden[rows, columns] = covers
    pixels[hidden] = GREY
    return Image.fromarray(pixels)


def _unclear(labels: Labels, classes: Sequence[str]) -> NDArray[np.bool_]:
    """Say of what is labelled whether it is neither an object of the classes nor background to them, (N,)."""
    return labels.of_type(DONT_CARE, *(NEIGHBOURS[name] for name in classes if name in NEIGHBOURS))


def _objects(
    labels: Sequence[Labels], images: Sequence[ImageRecord], classes: Sequence[str]
) -> tuple[Objects, NDArray[np.int64]]:
    """Return the objects in the order of their images, and how many boxes were mended, as in `CocoSplit`."""
    parts, mended = [], np.zeros((len(images), 3), dtype=np.int64)
    for index, (of_image, image) in enumerate(zip(labels, images, strict=True)):
        corners = of_image.boxes
        written = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        bbox, moved = clip(written, np.array([[image.width, image.height]] * len(corners), np.float64).reshape(-1, 2))
        extended = (bbox[:, 2:] >= ROUNDING).all(axis=1)
        for class_, name in enumerate(classes):
            own, crowd = of_image.of_type(name), _unclear(of_image, [name])
            rows = np.flatnonzero((own | crowd) & extended)
            areas = bbox[rows, 2:].prod(axis=1)
            parts.append((np.full(len(rows), index), bbox[rows], np.full(len(rows), class_), areas, crowd[rows]))
            mended[index, 0] += np.count_nonzero(own & extended & (moved > ROUNDING))
            mended[index, 1] += np.count_nonzero(own & ~extended)
    return Objects._make(np.concatenate(column) for column in zip(*parts, strict=True)), mended
