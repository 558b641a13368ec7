"""The data sets a study can name: their splits in memory, and what identifies their content."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from robustprune import staging
from robustprune.classification.data import cifar10, emblems, folders
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.data.subsets import balanced
from robustprune.core.images.reading import Exif
from robustprune.core.images.sharing import SharedPictures
from robustprune.core.settings import PIXELS, Settings
from robustprune.plugins import any_settings, check_named_settings, task_registry

Split = Literal["train", "test"]
MAX_IMAGE_SIZE = 4096


class Emblems(Settings):
    """The embedded data set, generated in memory."""

    name: Literal["emblems"]
    seed: int = Field(default=0, ge=0, description="what the images are drawn from, the same for all trials")
    train_images: int = Field(default=1200, ge=6, description="how many there are to train on")
    test_images: int = Field(default=600, ge=6, description="how many there are to measure on")
    image_size: int = Field(
        default=32, ge=16, le=MAX_IMAGE_SIZE, description="side of the images", json_schema_extra=PIXELS
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return emblems.CLASSES

    def load(self, split: Split) -> LabelledImages:
        """Return a split."""
        return _generated(self, split)

    def fingerprint(self, split: Split) -> dict[str, Any]:
        """Return what determines the content of a split."""
        other = "test_images" if split == "train" else "train_images"
        return {"version": emblems.VERSION, "split": split, **self.model_dump(exclude={other})}


class _OnDisk(Settings):
    """A data set on disk, or a random part of it with as many images of each class.

    The drawing has one seed for all trials, not theirs: rows measured on different images could not be compared.
    """

    train_images: int | None = Field(default=None, ge=1, description="how many are drawn; null for all")
    test_images: int | None = Field(default=None, ge=1, description="how many are drawn; null for all")
    seed: int = Field(default=0, ge=0, description="of the drawing")

    def load(self, split: Split) -> LabelledImages:
        """Return a split, or the part of it that is drawn.

        Raises:
            InputError: a file is missing or damaged, or there are too few images.
        """
        return _drawn(self, split)

    def fingerprint(self, split: Split) -> dict[str, Any]:
        """Return what identifies the content of a split: pixels, labels and names of classes, wherever they lie."""
        return {"split": split, "sha256": _sha256(self, split)}

    def _read(self, split: Split) -> LabelledImages:
        raise NotImplementedError


class Cifar10(_OnDisk):
    """CIFAR-10 in the folder where torchvision keeps it."""

    name: Literal["cifar10"]
    root: str = Field(description="folder that holds cifar-10-batches-py, or the URI of one in a bucket")

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return cifar10.IMAGE_SIZE

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return cifar10.CLASSES

    def _read(self, split: Split) -> LabelledImages:
        return cifar10.load(staging.local(self.root, "dataset.root", parts=("cifar-10-batches-py",)), split)


class Folders(_OnDisk):
    """Images in class folders, on disk or in zip files: SPLIT/CLASS/*.jpg, or SPLIT.zip with as much in it."""

    name: Literal["folders"]
    root: str = Field(description="folder, or zip file, that holds the splits, or the URI of one in a bucket")
    train: str = Field(default="train", min_length=1, description="name of the split to train on")
    test: str = Field(default="test", min_length=1, description="name of the split to measure on")
    image_size: int = Field(
        default=32, ge=1, le=MAX_IMAGE_SIZE, description="side that images are resized to", json_schema_extra=PIXELS
    )
    exif: Exif = Field(
        default="ignore", description="apply turns pictures as the orientation tag in their metadata says"
    )
    shared_pictures: SharedPictures = Field(
        default="tell", description="what is done where pictures of `test` have the very content of some of `train`"
    )

    @field_validator("train", "test")
    @classmethod
    def _is_below_root(cls, split: str) -> str:
        path = PurePosixPath(split)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError("expected a folder or zip file below root")
        return str(path)

    @field_validator("test")
    @classmethod
    def _is_another(cls, test: str, info: ValidationInfo) -> str:
        if test == info.data.get("train"):
            raise ValueError("expected another split than the one to train on")
        return test

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, which are the same in both splits.

        Raises:
            InputError: they are not, or a split is missing.
        """
        return _common_classes(self.folder, self.train, self.test)

    @property
    def folder(self) -> Path:
        """Folder or zip file that holds the splits, on this machine.

        Raises:
            InputError: it is in a bucket, and cannot be copied.
        """
        return _holding(self.root, self.train, self.test)

    def _read(self, split: Split) -> LabelledImages:
        # A label is to mean the same in both.
        _common_classes(self.folder, self.train, self.test)
        return folders.load(self.folder, getattr(self, split), image_size=self.image_size, exif=self.exif)


DATASETS = task_registry(
    "robustprune.datasets",
    kind="data set",
    task="classification",
    bundled={"emblems": Emblems, "cifar10": Cifar10, "folders": Folders},
    check=lambda name, entry: check_named_settings(name, entry.provides),
)
"""Settings with `classes`, `image_size`, `load(split)` and `fingerprint(split)`, as those here have."""

if TYPE_CHECKING:
    Dataset = Emblems | Cifar10 | Folders


def __getattr__(name: str) -> Any:
    """Return `Dataset`, the settings of any data set, made when first asked for: a plug-in imports this module."""
    if name == "Dataset":
        return any_settings(DATASETS)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.lru_cache(maxsize=2)
def _generated(settings: Emblems, split: Split) -> LabelledImages:
    images = settings.train_images if split == "train" else settings.test_images
    return emblems.generate(seed=settings.seed, split=split, images=images, image_size=settings.image_size)


@functools.lru_cache(maxsize=2)
@staging.told_by_uri()
def _drawn(settings: _OnDisk, split: Split) -> LabelledImages:
    field = f"{split}_images"
    count: int | None = getattr(settings, field)
    images = settings._read(split)
    return images if count is None else balanced(images, count, seed=settings.seed, field=f"dataset.{field}")


@functools.lru_cache
def _holding(root: str, *splits: str) -> Path:
    """Return the folder or zip file in which splits are, copied to this machine where it is in a bucket."""
    return staging.local(root, "dataset.root", parts=[part for split in splits for part in (split, f"{split}.zip")])


@functools.lru_cache
@staging.told_by_uri()
def _common_classes(root: Path, train: str, test: str) -> tuple[str, ...]:
    return folders.common_classes(root, train, test)


@functools.lru_cache
def _sha256(settings: _OnDisk, split: Split) -> str:
    images = settings.load(split)
    digest = hashlib.sha256(repr((images.classes, tuple(images.pixels.shape))).encode())
    digest.update(images.pixels.numpy().tobytes())
    digest.update(images.labels.numpy().tobytes())
    return digest.hexdigest()
