"""The pictures of the splits in use, opened and decoded once before anything is trained; and what they tell.

How pictures are read is in `core.images`, what annotations say in `coco`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robustprune.core.errors import InputError
from robustprune.core.images.checking import check_pictures
from robustprune.core.images.reading import picture_remarks
from robustprune.core.progress import teller
from robustprune.detection.data.coco import CocoSplit
from robustprune.staging.cache import cache_folder


def inspect(splits: Sequence[CocoSplit], *, shared_pictures: str = "tell") -> list[str]:
    """Decode every picture of some splits, and return sentences on what a user should know of them.

    Takes milliseconds a picture and core, the first time; says on stderr how far it is.

    Args:
        splits: that are to be disjoint.
        shared_pictures: "tell" of pictures of one content in two splits, or "refuse" them.

    Raises:
        InputError: a picture is missing, damaged or of another size than the annotations say; or refused.
    """
    paths = [[split.path(index) for index in range(len(split))] for split in splits]
    every = [path for of_split in paths for path in of_split]
    checked = iter(check_pictures(every, memory=memory(), tell=teller(len(every), of="pictures opened")))
    found = [list(itertools.islice(checked, len(split))) for split in splits]
    remarks = []
    for split, pictures in zip(splits, found, strict=True):
        for index, picture in enumerate(pictures):
            split.check_size(index, picture.kind)
        remarks += picture_remarks([picture.kind for picture in pictures], split.source, exif=split.exif)
    for one, other in itertools.combinations(range(len(splits)), 2):
        contents = dict(zip((picture.sha256 for picture in found[one]), paths[one], strict=True))
        shared = [index for index, picture in enumerate(found[other]) if picture.sha256 in contents]
        if shared:
            twin = contents[found[other][shared[0]].sha256]
            told = (
                f"{splits[other].source}: {len(shared)} images have the content of images of {splits[one].source}, "
                f"{paths[other][shared[0]]} that of {twin}"
            )
            if shared_pictures == "refuse":
                raise InputError(f"{told}, expected disjoint splits (dataset.shared_pictures: tell takes them)")
            remarks.append(f"{told}: what is measured on them tells nothing of other images")
    return remarks


def memory() -> Path:
    """Return the folder where it is remembered which pictures were whole."""
    return cache_folder() / "pictures"


def crowded(split: CocoSplit, limit: int, *, setting: str) -> list[str]:
    """Return a sentence where images hold more objects than detections that count.

    Args:
        split: to be measured on.
        limit: detections of an image that count.
        setting: what changes it, for the message.
    """
    counts = np.bincount(split.objects.images[~split.objects.crowds], minlength=len(split))
    over = np.count_nonzero(counts > limit)
    if not over:
        return []
    return [
        f"{split.source}: {over} images hold more objects than the {limit} detections of an image that count, "
        f"one of them {counts.max()} ({setting})"
    ]
