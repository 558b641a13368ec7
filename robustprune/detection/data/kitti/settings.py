"""The settings of data sets in KITTI's format: KITTI, or what is stored like it; and streets that are drawn here."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from robustprune import staging
from robustprune.core.errors import InputError
from robustprune.core.settings import PIXELS, Settings
from robustprune.detection.data.kitti.files import Folder, folder_of, listed_in
from robustprune.detection.data.kitti.levels import KittiClass
from robustprune.detection.data.kitti.split import KittiSplit, load_pictures
from robustprune.detection.data.kitti.streets import LISTS, VERSION, generate, pixel_of
from robustprune.detection.data.subsets import shuffled_ids
from robustprune.staging.cache import cache_folder


class _InKittisFormat(Settings):
    """What is common to them."""

    has_levels: ClassVar[bool] = True

    classes: tuple[KittiClass, ...] = Field(
        default=("Car",), min_length=1, description="what is to be found, of Car, Pedestrian and Cyclist"
    )
    hide_unclear: bool = Field(
        default=True,
        description="in images to train on, paint regions marked DontCare and neighbours of the classes (Van, "
        "Person_sitting) grey, which would be background else",
    )

    @field_validator("classes", mode="before")
    @classmethod
    def _as_given(cls, given: Any) -> Any:
        if not isinstance(given, str | list | tuple):
            raise ValueError(f"found {given!r}, expected a list of classes")
        return (given,) if isinstance(given, str) else tuple(given)

    @field_validator("classes")
    @classmethod
    def _once_each(cls, classes: tuple[KittiClass, ...]) -> tuple[KittiClass, ...]:
        if len(set(classes)) < len(classes):
            raise ValueError(f"found {', '.join(classes)}, expected each class once")
        return classes

    def splits(self) -> tuple[KittiSplit, KittiSplit]:
        """Return the training and the validation split.

        Raises:
            InputError: a file is missing or wrong, or the splits overlap.
        """
        raise NotImplementedError


class Kitti(_InKittisFormat):
    """A folder in KITTI's layout: training/image_2/000000.png and training/label_2/000000.txt.

    `train` and `val` each name a file that lists a split; where one is left out, it is the pictures that the other
    does not list; where both are, `train_part` of the pictures are drawn, once for all trials.
    """

    name: Literal["kitti"]
    root: str = Field(description="folder with training/image_2 and training/label_2, or the URI of one in a bucket")
    train: str | None = Field(
        default=None,
        min_length=1,
        description="file that lists the pictures to train on, one a line, such as ImageSets/train.txt; null: those "
        "that are not in `val`, or drawn",
    )
    val: str | None = Field(default=None, min_length=1, description="likewise, the pictures to measure on")
    train_part: float = Field(
        default=0.75, gt=0, lt=1, description="part of the pictures to train on, where no file lists any"
    )
    train_images: int | None = Field(default=None, ge=1, description="how many of these are drawn; null for all")
    val_images: int | None = Field(default=None, ge=1, description="how many are drawn; null for all")
    seed: int = Field(default=0, ge=0, description="of the drawing")

    def splits(self) -> tuple[KittiSplit, KittiSplit]:
        """Return the training and the validation split; see there."""
        return _loaded(self)

    def fingerprint(self, split: Literal["train", "val"]) -> dict[str, Any]:
        """Return what determines the content of a split."""
        return {"split": split, "sha256": self.splits()[0 if split == "train" else 1].fingerprint}


class Streets(_InKittisFormat):
    """Street scenes in KITTI's format, generated where they are needed: near and far, occluded and cut off."""

    name: Literal["streets"]
    seed: int = Field(default=0, ge=0, description="what the images are drawn from, the same for all trials")
    train_images: int = Field(default=256, ge=1, description="how many there are to train on")
    val_images: int = Field(default=96, ge=1, description="how many there are to measure on")
    width: int = Field(
        default=192, ge=96, description="of the images, whose height is a third of it", json_schema_extra=PIXELS
    )
    root: str | None = Field(default=None, description="folder to generate it in; a cache folder by default")

    def splits(self) -> tuple[KittiSplit, KittiSplit]:
        """Return the training and the validation split, generated first if need be.

        Raises:
            InputError: `root` holds something else.
        """
        return _generated(self)

    def fingerprint(self, split: Literal["train", "val"]) -> dict[str, Any]:
        """Return what determines the content of a split."""
        other = {"val_images"} if split == "train" else {"train_images", "hide_unclear"}
        return {"version": VERSION, "split": split, **self.model_dump(mode="json", exclude={"root", *other})}


@functools.lru_cache(maxsize=4)
def _generated(settings: Streets) -> tuple[KittiSplit, KittiSplit]:
    if settings.root is not None and "://" in settings.root:
        raise InputError(f"dataset.root: found {settings.root}, expected a folder of this machine to generate it in")
    drawn = settings.model_dump(include={"seed", "train_images", "val_images", "width"})
    name = "-".join(["streets", f"v{VERSION}", *map(str, drawn.values())])
    root = generate(Path(settings.root) if settings.root else cache_folder() / name, **drawn)
    folder = folder_of(root)
    stems = [listed_in(root, LISTS[split], "dataset.root", folder) for split in ("train", "val")]
    return _both(settings, root, folder, stems[0], stems[1])


@functools.lru_cache(maxsize=4)
@staging.told_by_uri()
def _loaded(settings: Kitti) -> tuple[KittiSplit, KittiSplit]:
    root = staging.opened(settings.root, "dataset.root")
    folder = folder_of(root)
    listed = {
        split: None if given is None else listed_in(root, given, f"dataset.{split}", folder)
        for split, given in (("train", settings.train), ("val", settings.val))
    }
    train, val = _parted(settings, folder, listed["train"], listed["val"])
    train, val = (
        _first(count, stems, settings.seed, field)
        for count, stems, field in ((settings.train_images, train, "train"), (settings.val_images, val, "val"))
    )
    return _both(settings, root, folder, train, val)


def _parted(
    settings: Kitti, folder: Folder, train: list[str] | None, val: list[str] | None
) -> tuple[list[str], list[str]]:
    """Return the pictures of each split, as files list them or by chance.

    Raises:
        InputError: they overlap, or none are left for one of them.
    """
    every = [*folder.pictures]
    if train is None and val is None:
        order = shuffled_ids([int(stem) for stem in every], settings.seed)
        # Where there are few, one is left for each.
        count = min(max(1, round(settings.train_part * len(every))), len(every) - 1)
        train = sorted((every[place] for place in order[:count]), key=int)
    if train is not None and val is not None:
        if shared := sorted({*train} & {*val}, key=int):
            raise InputError(
                f"dataset.val: {len(shared)} pictures of {settings.val} are in {settings.train} too, one is "
                f"{shared[0]}, expected disjoint splits"
            )
        return train, val
    named = {*(train or val or ())}
    others = [stem for stem in every if stem not in named]
    train, val = others if train is None else train, others if val is None else val
    for what, split in (("train", train), ("val", val)):
        if not split:
            raise InputError(
                f"dataset.{what}: of the {len(every)} pictures in {folder.path} none are left, expected some"
            )
    return train, val


def _first(count: int | None, stems: list[str], seed: int, split: str) -> list[str]:
    """Return so many of the pictures of a split, drawn at random."""
    if count is None:
        return stems
    if count > len(stems):
        raise InputError(
            f"dataset.{split}_images is {count}, expected at most {len(stems)}, the pictures of that split "
            f"(--set dataset.{split}_images=N draws fewer)"
        )
    order = shuffled_ids([int(stem) for stem in stems], seed)
    return sorted((stems[place] for place in order[:count]), key=int)


def _both(
    settings: _InKittisFormat, root: Path, folder: Folder, train: list[str], val: list[str]
) -> tuple[KittiSplit, KittiSplit]:
    place, pixel = staging.shown(root).rstrip("/"), pixel_of(root)
    return (
        load_pictures(
            folder, train, source=f"{place} (train)", classes=settings.classes, hides=settings.hide_unclear, pixel=pixel
        ),
        load_pictures(folder, val, source=f"{place} (val)", classes=settings.classes, hides=False, pixel=pixel),
    )
