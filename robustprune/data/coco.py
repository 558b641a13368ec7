"""One split of a data set in COCO format: images, boxes, contiguous classes, ground truth for pycocotools.

The file format and its errors are in `coco_json`; resizing, colour and batches are in `samples`.
"""

import contextlib
import functools
import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO

from robustprune.data.coco_json import AnnotationFile, AnnotationRecord, CategoryRecord, ImageRecord, read
from robustprune.errors import InputError

# Boxes are written with two decimals: less than this, in pixels, is no extent and no damage.
ROUNDING = 0.01


class Objects(NamedTuple):
    """All objects of a split with its crowds, by image: those of image i are at `starts[i]:starts[i + 1]`."""

    images: NDArray[np.int64]  # (N,), ascending
    bbox: NDArray[np.float64]  # (N, 4): x, y, width, height in pixels, inside the image
    classes: NDArray[np.int64]  # (N,)
    areas: NDArray[np.float64]  # (N,)
    crowds: NDArray[np.bool_]  # (N,)
    starts: NDArray[np.int64]  # (number of images + 1,)


@dataclass(frozen=True, eq=False)
class CocoSplit:
    """One split, images in the order of their ids; made by `load_split`.

    Images without objects are kept. Crowds are no training targets (`boxes`, `classes`), yet part of
    `ground_truth`, where pycocotools ignores them.

    Attributes:
        folder: Where the images are.
        annotation_file: Where the annotations were read, their SHA-256 is `annotation_digest`.
        categories: Sorted by id; a class is an index into them.
        images: Sorted by id.
        repaired: Number of boxes that reached out of their image and were cut at its edge.
        dropped: Number of boxes that had no extent inside their image; they are left out everywhere.
    """

    folder: Path
    annotation_file: Path
    annotation_digest: bytes
    categories: tuple[CategoryRecord, ...]
    images: tuple[ImageRecord, ...]
    objects: Objects
    repaired: int
    dropped: int

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @functools.cached_property
    def image_ids(self) -> tuple[int, ...]:
        """Ids of the images, ascending."""
        return tuple(image.id for image in self.images)

    @functools.cached_property
    def category_ids(self) -> tuple[int, ...]:
        """Ids of the categories, ascending: `category_ids[c]` is the id of class c."""
        return tuple(category.id for category in self.categories)

    @functools.cached_property
    def category_names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(category.name for category in self.categories)

    def boxes(self, index: int) -> NDArray[np.float32]:
        """Return the boxes of an image without its crowds: x1, y1, x2, y2 in pixels, shape (K, 4)."""
        bbox = self.objects.bbox[self._rows(index)]
        return np.hstack([bbox[:, :2], bbox[:, :2] + bbox[:, 2:]]).astype(np.float32)

    def classes(self, index: int) -> NDArray[np.int64]:
        """Return the classes of `boxes(index)`, contiguous from 0, shape (K,)."""
        return self.objects.classes[self._rows(index)]

    def _rows(self, index: int) -> NDArray[np.int64]:
        start, stop = self.objects.starts[index : index + 2]
        return np.arange(start, stop)[~self.objects.crowds[start:stop]]

    def image(self, index: int) -> Image.Image:
        """Read an image as RGB, whatever its file's colour space; transparency is dropped.

        Raises:
            InputError: The file is damaged, or not of the size that the annotations say.
        """
        record = self.images[index]
        path = self.folder / record.file_name
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except OSError as error:
            raise InputError(f"{path}: {error}, expected an image file") from None
        if image.size != (record.width, record.height):
            raise InputError(
                f"{path}: found {image.width} x {image.height} pixels, "
                f"expected {record.width} x {record.height} as in {self.annotation_file}"
            )
        return image

    @functools.cached_property
    def ground_truth(self) -> COCO:
        """All objects with crowds, as pycocotools evaluates them."""
        objects = self.objects
        columns = (objects.images, objects.classes, objects.bbox, objects.areas, objects.crowds)
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image.id, "width": image.width, "height": image.height} for image in self.images],
            "categories": [{"id": category.id, "name": category.name} for category in self.categories],
            "annotations": [
                {
                    # Numbered anew from 1: pycocotools takes what is matched to id 0 for unmatched.
                    "id": number,
                    "image_id": self.image_ids[image],
                    "category_id": self.category_ids[class_],
                    "bbox": bbox,
                    "area": area,
                    "iscrowd": int(crowd),
                }
                for number, (image, class_, bbox, area, crowd) in enumerate(
                    zip(*(column.tolist() for column in columns), strict=True), start=1
                )
            ],
        }
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        return coco

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the annotation file's bytes and every image's name and file size."""
        digest = hashlib.sha256(self.annotation_digest)
        for image in self.images:
            size = (self.folder / image.file_name).stat().st_size
            digest.update(f"{image.file_name}\0{size}\0".encode())
        return digest.hexdigest()


def load_split(root: Path, split: str) -> CocoSplit:
    """Load the split with annotations `root/annotations/instances_{split}.json` and images `root/{split}/`.

    Raises:
        InputError: A file is missing or damaged, or the annotations contradict themselves.
    """
    path = root / "annotations" / f"instances_{split}.json"
    file, digest = read(path)
    _check_files(file, path, root / split)
    images = tuple(sorted(file.images, key=lambda image: image.id))
    categories = tuple(sorted(file.categories, key=lambda category: category.id))
    objects, repaired, dropped = _objects(file, images, categories)
    return CocoSplit(root / split, path, digest, categories, images, objects, repaired, dropped)


def check_disjoint(train: CocoSplit, val: CocoSplit) -> None:
    """Check that no image is trained on and measured.

    Raises:
        InputError: The splits share an image id or a file name.
    """
    for field in ("id", "file_name"):
        shared = {getattr(image, field) for image in train.images} & {getattr(image, field) for image in val.images}
        if shared:
            raise InputError(
                f"{val.annotation_file}: {len(shared)} images have the same {field} as in "
                f"{train.annotation_file}, one is {min(shared)!r}, expected disjoint splits"
            )


def _check_files(file: AnnotationFile, path: Path, folder: Path) -> None:
    # One listing per folder: asking for each of 118,000 files is slow on a network file system.
    listings: dict[str, set[str]] = {}
    for position, image in enumerate(file.images):
        subfolder, name = os.path.split(image.file_name)
        if subfolder not in listings:
            try:
                listings[subfolder] = set(os.listdir(folder / subfolder))
            except OSError:
                listings[subfolder] = set()
        if name not in listings[subfolder]:
            raise InputError(
                f"{path}: field images[{position}].file_name is {image.file_name!r}, expected a file in {folder}"
            )


def _objects(
    file: AnnotationFile, images: tuple[ImageRecord, ...], categories: tuple[CategoryRecord, ...]
) -> tuple[Objects, int, int]:
    """Return the objects grouped by image, and how many boxes were repaired and dropped."""
    image_index = {image.id: index for index, image in enumerate(images)}
    class_index = {category.id: index for index, category in enumerate(categories)}
    records = sorted(file.annotations, key=lambda record: image_index[record.image_id])
    owners = np.array([image_index[record.image_id] for record in records], dtype=np.int64)
    classes = np.array([class_index[record.category_id] for record in records], dtype=np.int64)
    areas = np.array([_area(record) for record in records], dtype=np.float64)
    crowds = np.array([record.iscrowd for record in records], dtype=np.bool_)
    written = np.array([record.bbox for record in records], dtype=np.float64).reshape(-1, 4)
    sizes = np.array([(image.width, image.height) for image in images], dtype=np.float64)

    bbox, moved = _clip(written, sizes[owners])
    kept = (bbox[:, 2:] >= ROUNDING).all(axis=1)
    starts = np.searchsorted(owners[kept], np.arange(len(images) + 1))
    objects = Objects(owners[kept], bbox[kept], classes[kept], areas[kept], crowds[kept], starts)
    return objects, int((kept & (moved > ROUNDING)).sum()), int((~kept).sum())


def _area(record: AnnotationRecord) -> float:
    return record.bbox[2] * record.bbox[3] if record.area is None else record.area


def _clip(bbox: NDArray[np.float64], sizes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut boxes (x, y, width, height) at their images' edges; also return how far an edge moved at most."""
    low, high = bbox[:, :2], bbox[:, :2] + bbox[:, 2:]
    inner_low, inner_high = np.clip(low, 0, sizes), np.clip(high, 0, sizes)
    moved = np.maximum(np.abs(inner_low - low), np.abs(inner_high - high)).max(axis=1)
    # Boxes that stay keep the very numbers of the file.
    clipped = np.where(moved[:, None] > 0, np.hstack([inner_low, inner_high - inner_low]), bbox)
    return clipped, moved
