"""What to train on and what to measure on, out of the splits on disk: pooled, drawn at random, never overlapping.

Reading one split is in `coco`.
"""

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import CocoSplit, Objects
from robustprune.detection.data.coco_json import CategoryRecord


def pool(splits: Sequence[CocoSplit]) -> CocoSplit:
    """Return the images of several splits as one.

    Ids are local to a file: where they repeat, images are numbered anew from 1, those of the first split first.

    Raises:
        InputError: Two of them share an image, or have other categories.
    """
    for first, second in itertools.combinations(splits, 2):
        check_categories(first, second)
        check_disjoint(first, second)
    offsets = np.cumsum([0, *map(len, splits)])
    shifted = [
        split.objects._replace(images=split.objects.images + offset)
        for split, offset in zip(splits, offsets, strict=False)
    ]
    images = [image for split in splits for image in split.images]
    if len({image.id for image in images}) < len(images):
        images = [dataclasses.replace(image, id=number) for number, image in enumerate(images, start=1)]
    joined = CocoSplit(
        source=" and ".join(split.source for split in splits),
        categories=splits[0].categories,
        images=tuple(images),
        folders=tuple(folder for split in splits for folder in split.folders),
        objects=Objects._make(map(np.concatenate, zip(*shifted, strict=True))),
        mended=np.concatenate([split.mended for split in splits]),
        exif=splits[0].exif,
    )
    return take(joined, sorted(range(len(joined)), key=joined.image_ids.__getitem__))


def take(split: CocoSplit, indices: Sequence[int]) -> CocoSplit:
    """Return the part of a split with the images `indices`, in that order."""
    position = np.full(len(split), -1)
    position[indices] = np.arange(len(indices))
    owners = position[split.objects.images]
    rows = np.argsort(owners, kind="stable")[(owners < 0).sum() :]
    return dataclasses.replace(
        split,
        images=tuple(split.images[index] for index in indices),
        folders=tuple(split.folders[index] for index in indices),
        objects=Objects._make(column[rows] for column in split.objects)._replace(images=owners[rows]),
        mended=split.mended[indices],
    )


def shuffled(split: CocoSplit, seed: int) -> list[int]:
    """Return the indices of all images in a random order.

    It is the order of SHA-256(seed, image id): which of two images comes first depends on these alone, so that a
    larger draw extends a smaller one and no random generator's version matters.
    """
    return shuffled_ids(split.image_ids, seed)


def shuffled_ids(image_ids: Sequence[int], seed: int) -> list[int]:
    """Return the places of images in a random order, by their ids; see `shuffled`."""
    ranks = [hashlib.sha256(f"{seed}/{image_id}".encode()).digest() for image_id in image_ids]
    return sorted(range(len(image_ids)), key=ranks.__getitem__)


def check_disjoint(train: CocoSplit, val: CocoSplit) -> None:
    """Check that no file is trained on and measured; ids and names are local to a split.

    Files of the same content are told in `inspection`, where files are read.

    Raises:
        InputError: The splits share a file.
    """
    shared = _files(train) & _files(val)
    if shared:
        raise InputError(
            f"{val.source}: {len(shared)} images are files of {train.source} too, one is {min(shared)}, "
            "expected disjoint splits"
        )


def _files(split: CocoSplit) -> set[str]:
    real: dict[Path, str] = {folder: os.path.realpath(folder) for folder in set(split.folders)}
    return {
        os.path.normpath(os.path.join(real[folder], image.file_name))
        for folder, image in zip(split.folders, split.images, strict=True)
    }


def check_categories(train: CocoSplit, val: CocoSplit) -> None:
    """Check that a class means the same in both splits.

    Raises:
        InputError: The splits differ in a category.
    """
    for expected, found in itertools.zip_longest(train.categories, val.categories):
        if found != expected:
            raise InputError(
                f"{val.source}: found {_named(found)} where {train.source} has {_named(expected)}, "
                "expected the same categories"
            )


def _named(category: CategoryRecord | None) -> str:
    return "no further category" if category is None else f"category {category.id} {category.name!r}"
