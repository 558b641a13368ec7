"""The data sets a study can name: where their splits are, and what identifies their content."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from robustprune import staging
from robustprune.core.errors import InputError
from robustprune.core.images.reading import Exif
from robustprune.core.images.sharing import SharedPictures
from robustprune.core.settings import PIXELS, Settings
from robustprune.detection.data.classes import without_groups
from robustprune.detection.data.coco import CocoSplit, fetch_pictures, load_split
from robustprune.detection.data.coco_json import RepeatedFiles
from robustprune.detection.data.kitti.settings import Kitti, Streets
from robustprune.detection.data.shapes import VERSION, generate
from robustprune.detection.data.subsets import check_categories, check_disjoint, pool, shuffled, take
from robustprune.plugins import any_settings, check_named_settings, task_registry
from robustprune.staging.cache import cache_folder


class Shapes(Settings):
    """The embedded data set, generated where it is needed."""

    name: Literal["shapes"]
    seed: int = Field(default=0, ge=0, description="what the images are drawn from, the same for all trials")
    train_images: int = Field(default=256, ge=1, description="how many there are to train on")
    val_images: int = Field(default=96, ge=1, description="how many there are to measure on")
    image_size: int = Field(default=64, ge=32, description="side of the images", json_schema_extra=PIXELS)
    root: str | None = Field(default=None, description="folder to generate it in; a cache folder by default")

    def splits(self) -> tuple[CocoSplit, CocoSplit]:
        """Return the training and the validation split, generated first if need be.

        Raises:
            InputError: `root` holds something else.
        """
        if self.root is not None and "://" in self.root:
            raise InputError(f"dataset.root: found {self.root}, expected a folder of this machine to generate it in")
        settings = self.model_dump(exclude={"name", "root"})
        name = "-".join(["shapes", f"v{VERSION}", *map(str, settings.values())])
        root = generate(Path(self.root) if self.root else cache_folder() / name, **settings)
        return _load(root, "train", "val")

    def fingerprint(self, split: Literal["train", "val"]) -> dict[str, Any]:
        """Return what determines the content of a split."""
        other = "val_images" if split == "train" else "train_images"
        return {"version": VERSION, "split": split, **self.model_dump(exclude={"root", other})}


class SplitPaths(Settings):
    """A path for each split, relative to the data set's root; where a split is several, as many, joined by `+`."""

    train: str | None = Field(default=None, min_length=1, description="of the split to train on")
    val: str | None = Field(default=None, min_length=1, description="of the split to measure on")


class Coco(Settings):
    """A folder in COCO's layout: annotations/instances_SPLIT.json and SPLIT/*.jpg; or as tools export its format.

    `train` and `val` each name a split, or several joined by `+`. The layouts of Roboflow, CVAT, FiftyOne and Label
    Studio are found by themselves, any other by `annotations` and `images`. Ids and file names are local to a split;
    where they repeat among several that are joined, images are numbered anew. With `train_images` or `val_images`, so
    many of them are drawn at random; with `val: null`, out of those that are not drawn to train on.

    The drawing has one seed for all trials, not theirs: the base detector, which they share, must be trained on no
    image that one of them is measured on, and rows of different images could not be compared. What is drawn depends
    on that seed and the images' ids alone, and `fingerprint` is of what was drawn.
    """

    name: Literal["coco"]
    root: str = Field(description="folder in COCO's layout, or the URI of one in a bucket, such as s3://bucket/coco")
    train: str = Field(default="train2017", min_length=1, description="split to train on, or several joined by +")
    val: str | None = Field(
        default="val2017",
        min_length=1,
        description="split to measure on, or several; null: the images of `train` that are left",
    )
    train_images: int | None = Field(default=None, ge=1, description="how many are drawn; null for all")
    val_images: int | None = Field(default=None, ge=1, description="how many are drawn; null for all")
    seed: int = Field(default=0, ge=0, description="of the drawing")
    annotations: SplitPaths = Field(
        default=SplitPaths(), description="annotation files, as {train: FILE, val: FILE}; null finds them"
    )
    images: SplitPaths = Field(
        default=SplitPaths(), description="folders of pictures, as {train: DIR, val: DIR}; null finds them"
    )
    exif: Exif = Field(
        default="ignore", description="apply turns pictures as the orientation tag in their metadata says"
    )
    shared_pictures: SharedPictures = Field(
        default="tell", description="what is done where pictures of `val` have the very content of some of `train`"
    )
    repeated_files: RepeatedFiles = Field(
        default="refuse", description="allow takes one file under two ids for two images, each with its own objects"
    )

    @field_validator("annotations", "images", mode="before")
    @classmethod
    def _one_for_both(cls, given: Any) -> Any:
        return {"train": given, "val": given} if isinstance(given, str) else given

    @field_validator("train_images")
    @classmethod
    def _leaves_images(cls, train_images: int | None, info: ValidationInfo) -> int | None:
        if train_images is None and info.data.get("val", "") is None:
            raise ValueError("with val: null, expected how many images of train are drawn")
        return train_images

    def splits(self) -> tuple[CocoSplit, CocoSplit]:
        """Return the training and the validation split.

        Raises:
            InputError: a file is missing or wrong, there are too few images, or the splits overlap.
        """
        return _drawn(self)

    def fingerprint(self, split: Literal["train", "val"]) -> dict[str, Any]:
        """Return what determines the content of a split."""
        return {"split": split, "sha256": self.splits()[0 if split == "train" else 1].fingerprint}


DATASETS = task_registry(
    "robustprune.datasets",
    kind="data set",
    task="detection",
    bundled={"shapes": Shapes, "coco": Coco, "kitti": Kitti, "streets": Streets},
    check=lambda name, entry: check_named_settings(name, entry.provides),
)
"""Settings with `splits()` and `fingerprint(split)`, as those here have."""

if TYPE_CHECKING:
    Dataset = Shapes | Coco | Kitti | Streets


def __getattr__(name: str) -> Any:
    """Return `Dataset`, the settings of any data set, made when first asked for: a plug-in imports this module."""
    if name == "Dataset":
        return any_settings(DATASETS)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.lru_cache(maxsize=4)
def _load(root: Path, train: str, val: str) -> tuple[CocoSplit, CocoSplit]:
    train_split, val_split = _alike(load_split(root, train), load_split(root, val))
    check_disjoint(train_split, val_split)
    return train_split, val_split


@functools.lru_cache(maxsize=4)
def _drawn(settings: Coco) -> tuple[CocoSplit, CocoSplit]:
    root = staging.opened(settings.root, "dataset.root")

    def pooled(names: str, which: Literal["train", "val"]) -> CocoSplit:
        parts = names.split("+")
        files = _for_each(parts, getattr(settings.annotations, which), f"dataset.annotations.{which}")
        folders = _for_each(parts, getattr(settings.images, which), f"dataset.images.{which}")
        return pool(
            [
                load_split(
                    root,
                    name,
                    annotations=file,
                    images=folder,
                    exif=settings.exif,
                    repeated_files=settings.repeated_files,
                )
                for name, file, folder in zip(parts, files, folders, strict=True)
            ]
        )

    train_pool = pooled(settings.train, "train")
    # Of all images: what a category is must not depend on which are drawn.
    if settings.val is None:
        (train_pool,) = without_groups(train_pool)
    else:
        train_pool, val_pool = _alike(train_pool, pooled(settings.val, "val"))
    order = shuffled(train_pool, settings.seed)
    train = _first(settings.train_images, order, train_pool, "train_images")
    if settings.val is not None:
        val = _first(settings.val_images, shuffled(val_pool, settings.seed), val_pool, "val_images")
    elif len(train) == len(train_pool):
        raise InputError(f"dataset.val is null, but no images of {train_pool.source} are left to measure on")
    else:
        val = _first(settings.val_images, order[len(train) :], train_pool, "val_images")
    check_disjoint(train, val)
    fetch_pictures(train, val)
    return train, val


def _for_each(splits: list[str], paths: str | None, field: str) -> list[str | None]:
    """Return a path for each of several splits; None where none is given."""
    if paths is None:
        return [None] * len(splits)
    found: list[str | None] = [paths] if len(splits) == 1 else [*paths.split("+")]
    if len(found) != len(splits):
        raise InputError(f"{field}: found {len(found)} paths, expected {len(splits)} joined by +, one for each split")
    return found


def _first(count: int | None, order: list[int], split: CocoSplit, field: str) -> CocoSplit:
    """Return the first `count` of the images of `order`, or all."""
    if count is not None and count > len(order):
        left = " that are left" if len(order) < len(split) else ""
        raise InputError(
            f"dataset.{field} is {count}, expected at most {len(order)}, the images of {split.source}{left} "
            f"(--set dataset.{field}=N draws fewer)"
        )
    return take(split, sorted(order[:count]))


def _alike(train: CocoSplit, val: CocoSplit) -> tuple[CocoSplit, CocoSplit]:
    """Return splits that have the same categories, without mere groups."""
    check_categories(train, val)
    train, val = without_groups(train, val)
    return train, val
