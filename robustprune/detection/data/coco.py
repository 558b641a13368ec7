"""One split of a data set in COCO format: images, boxes, contiguous classes, ground truth for pycocotools.

The file format and its errors are in `coco_json`; pools and random parts of splits are in `subsets`; resizing, colour
and batches are in `samples`.
"""

import contextlib
import functools
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO

from robustprune import staging
from robustprune.core.errors import InputError
from robustprune.core.files import read_utf8
from robustprune.core.garbage_collection import paused
from robustprune.core.images.reading import SWAPS_SIDES, Exif, Kind, read_rgb
from robustprune.detection.data.coco_json import (
    AnnotationFile,
    AnnotationRecord,
    CategoryRecord,
    ImageRecord,
    parse,
    without_polygons,
)
from robustprune.detection.data.layouts import annotation_file, image_folder, located

# Boxes are written with two decimals: less than this, in pixels, is no extent and no damage.
ROUNDING = 0.01

MOST_REACHING = 0.2
"""The part of boxes that reach out of their images from which on, if all lie inside them as corners, they are these."""


class Objects(NamedTuple):
    """All objects of a split with its crowds."""

    images: NDArray[np.int64]  # (N,), indices, ascending
    bbox: NDArray[np.float64]  # (N, 4): x, y, width, height in pixels, inside the image
    classes: NDArray[np.int64]  # (N,)
    areas: NDArray[np.float64]  # (N,)
    crowds: NDArray[np.bool_]  # (N,)


@dataclass(frozen=True, eq=False)
class CocoSplit:
    """One split, images in the order of their ids; made by `load_split`, and by `subsets` out of others.

    Images without objects are kept. Crowds are no training targets (`boxes`, `classes`), yet part of
    `ground_truth`, where pycocotools ignores them.

    Attributes:
        source: The annotation file or files, for messages.
        categories: Sorted by id, or in the order of a detector's names; a class is an index into them.
        images: Sorted by id.
        folders: What their file names are relative to, one per image.
        objects: Of all images.
        mended: Per image, the number of boxes that reached out of it and were cut at its edge, and the numbers of
            those that are left out everywhere, as they had no extent inside it, or a negative one;
            shape (number of images, 3).
        exif: Whether pictures are turned as the orientation tag in their metadata says.
        groups: Categories of the file that are mere groups of others, and none of `categories`.
        added: Those of `categories` that are none of the file, but classes of a detector; their ids are made up.
    """

    source: str
    categories: tuple[CategoryRecord, ...]
    images: tuple[ImageRecord, ...]
    folders: tuple[Path, ...]
    objects: Objects
    mended: NDArray[np.int64]
    exif: Exif = "ignore"
    groups: tuple[CategoryRecord, ...] = ()
    added: tuple[CategoryRecord, ...] = ()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @functools.cached_property
    def image_ids(self) -> tuple[int, ...]:
        """Ids of the images, ascending."""
        return tuple(image.id for image in self.images)

    @functools.cached_property
    def category_ids(self) -> tuple[int, ...]:
        """Ids of the categories: `category_ids[c]` is the id of class c."""
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
        start, stop = self._starts[index : index + 2]
        return np.arange(start, stop)[~self.objects.crowds[start:stop]]

    @functools.cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.searchsorted(self.objects.images, np.arange(len(self) + 1))

    def indices(self, image_ids: Sequence[int]) -> list[int]:
        """Return the indices of the images with these ids.

        Raises:
            InputError: An id is of no image.
        """
        known = {image_id: index for index, image_id in enumerate(self.image_ids)}
        for image_id in image_ids:
            if image_id not in known:
                raise InputError(f"{self.source}: found no image of id {image_id} among the {len(self)} in use")
        return [known[image_id] for image_id in image_ids]

    def path(self, index: int) -> Path:
        """Return the file of an image."""
        return self.folders[index] / self.images[index].file_name

    def image(self, index: int) -> Image.Image:
        """Read an image as RGB, whatever its file's colour space; transparency is dropped.

        Its pixels are as they are stored, unless `exif` says otherwise: COCO's sizes and boxes take no account of an
        orientation in the metadata.

        Raises:
            InputError: The file is damaged, or not of the size that the annotations say.
        """
        path = self.path(index)
        try:
            with path.open("rb") as file:
                image, kind = read_rgb(file, str(path), exif=self.exif)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}, expected an image file") from None
        self.check_size(index, kind)
        return image

    def check_size(self, index: int, kind: Kind) -> None:
        """Check that an image is as large as the annotations say.

        Raises:
            InputError: It is not.
        """
        record, stored = self.images[index], (kind.width, kind.height)
        expected, turned = (record.width, record.height), stored[::-1]
        has_tag = kind.orientation >= SWAPS_SIDES
        found = turned if has_tag and self.exif == "apply" else stored
        if found == expected:
            return
        hint = ""
        if has_tag and expected in (stored, turned):
            tag = f"its EXIF orientation tag is {kind.orientation}, which turns it by 90 degrees"
            hint = (
                f"; {tag} where exif is apply (--exif apply)"
                if self.exif == "ignore"
                else f"; {tag}, and not where exif is ignore (--exif ignore)"
            )
        raise InputError(
            f"{self.path(index)}: found {found[0]} x {found[1]} pixels {'as stored' if found == stored else 'turned'}, "
            f"expected {expected[0]} x {expected[1]} as in {self.source}{hint}"
        )

    @property
    def remark(self) -> str | None:
        """One sentence on the boxes that were mended, if any, for the user to know."""
        repaired, dropped, negative = self.mended.sum(axis=0)
        told = [
            f"{count} {what}"
            for count, what in (
                (repaired, "boxes that reach out of their image are cut at its edge"),
                (dropped, "boxes without extent inside their image are left out"),
                (negative, "boxes of negative width or height are left out"),
            )
            if count
        ]
        return f"{self.source}: {', '.join(told)}" if told else None

    @functools.cached_property
    @paused()
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
        """SHA-256 over categories, images, the sizes of their files, and objects: what is trained on or measured.

        Raises:
            InputError: An image file is empty, or no longer there.
        """
        digest = hashlib.sha256(repr([(category.id, category.name) for category in self.categories]).encode())
        for index, image in enumerate(self.images):
            try:
                size = self.path(index).stat().st_size
            except OSError as error:
                raise InputError(f"{self.path(index)}: {error.strerror}, expected an image file") from None
            if size == 0:
                raise InputError(f"{self.path(index)}: the file is empty, expected an image file")
            digest.update(repr((image.id, image.file_name, image.width, image.height, size)).encode())
        for column in self.objects:
            digest.update(column.tobytes())
        if self.exif != "ignore":
            digest.update(self.exif.encode())
        return digest.hexdigest()


@staging.told_by_uri()
@paused()
def load_split(
    root: Path,
    split: str,
    *,
    annotations: str | None = None,
    images: str | None = None,
    exif: Exif = "ignore",
    with_pictures: bool = True,
) -> CocoSplit:
    """Load a split of a data set; none of its pictures is opened, nor copied where they are in a bucket.

    Args:
        root: Of the data set; as `staging.opened` gives it.
        split: As in `root/annotations/instances_{split}.json` and `root/{split}/`, COCO's layout, or in one of those
            in `layouts`.
        annotations: Its annotation file, relative to `root`, wherever that is.
        images: Likewise, the folder of its pictures.
        exif: See `CocoSplit`.
        with_pictures: Pictures have to be there.

    Raises:
        InputError: A file is missing or damaged, or the annotations contradict themselves.
    """
    path = annotation_file(root, split) if annotations is None else located(root, annotations, "annotations")
    staging.fetch([path])
    file = _read(path)
    folder = root / split if images is None else located(root, images, "images")
    if with_pictures:
        names = [image.file_name for image in file.images]
        folder = image_folder(root, split, path, names, given=None if images is None else folder)
    records = tuple(sorted(file.images, key=lambda image: image.id))
    categories = tuple(sorted(file.categories, key=lambda category: category.id))
    objects, mended = _objects(file, records, categories, path)
    return CocoSplit(staging.shown(path), categories, records, (folder,) * len(records), objects, mended, exif=exif)


def fetch_pictures(*splits: CocoSplit) -> None:
    """Copy the pictures of splits to this machine, where they are in a bucket and not here yet.

    Raises:
        InputError: One cannot be copied.
    """
    staging.fetch(split.path(index) for split in splits for index in range(len(split)))


def _read(path: Path) -> AnnotationFile:
    content = read_utf8(path, "a COCO annotation file")
    try:
        return parse(without_polygons(content), path)
    except InputError:
        # The error is to name lines of the file as it is.
        return parse(content, path)


def _objects(
    file: AnnotationFile, images: tuple[ImageRecord, ...], categories: tuple[CategoryRecord, ...], path: Path
) -> tuple[Objects, NDArray[np.int64]]:
    """Return the objects ordered by image, and how many boxes of each image were mended, as in `CocoSplit`.

    Raises:
        InputError: Boxes are corners.
    """
    records = file.annotations
    owners = _positions([record.image_id for record in records], images)
    classes = _positions([record.category_id for record in records], categories)
    areas = np.array([_area(record) for record in records], dtype=np.float64)
    crowds = np.array([record.iscrowd for record in records], dtype=np.bool_)
    written = np.array([record.bbox for record in records], dtype=np.float64).reshape(-1, 4)
    sizes = np.array([(image.width, image.height) for image in images], dtype=np.float64)

    bbox, moved = _clip(written, sizes[owners])
    _check_extents(written, sizes[owners], moved, path)
    kept = np.asarray((bbox[:, 2:] >= ROUNDING).all(axis=1))
    rows = np.argsort(owners, kind="stable")
    rows = rows[kept[rows]]
    objects = Objects(owners[rows], bbox[rows], classes[rows], areas[rows], crowds[rows])
    negative = (written[:, 2:] < 0).any(axis=1)
    kinds = (kept & (moved > ROUNDING), ~kept & ~negative, negative)
    mended = [np.bincount(owners[which], minlength=len(images)) for which in kinds]
    return objects, np.stack(mended, axis=1)


def _positions(ids: Sequence[int], records: Sequence[ImageRecord | CategoryRecord]) -> NDArray[np.int64]:
    """Return where in `records`, sorted by id, each of `ids` is."""
    known = np.array([record.id for record in records], dtype=np.int64)
    return np.searchsorted(known, np.array(ids, dtype=np.int64))


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


def _check_extents(
    bbox: NDArray[np.float64], sizes: NDArray[np.float64], moved: NDArray[np.float64], path: Path
) -> None:
    """Check that boxes are x, y, width and height, as far as can be told from all together, and not two corners.

    Raises:
        InputError: They are corners.
    """
    ordered = (bbox[:, 2:] > bbox[:, :2]).all(axis=1)
    inside = (bbox >= 0).all(axis=1) & (bbox[:, 2:] <= sizes + 1).all(axis=1)
    reaching = np.flatnonzero(moved > 1)
    if len(reaching) >= max(2, MOST_REACHING * len(bbox)) and (ordered & inside).all():
        first = reaching[0]
        raise InputError(
            f"{path}: field annotations[{first}].bbox is {bbox[first].tolist()}, expected x, y, width and height, not "
            f"two corners: {len(reaching)} of {len(bbox)} boxes reach out of their images, and as corners none does"
        )
