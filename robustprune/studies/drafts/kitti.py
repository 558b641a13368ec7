"""A first spec for a data set in KITTI's format: as one for boxes is, of oblong images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robustprune.detection.data.kitti.settings import Kitti
from robustprune.studies.drafts.detection import boxes_draft, this_machine
from robustprune.studies.drafts.sizing import part, valid
from sweeps.study import Draft, Drafted

LISTS = ("ImageSets/train.txt", "ImageSets/val.txt")
"""Where those who divide KITTI lay the lists of its pictures."""


def kitti_draft(source: str, given: Mapping[str, Any], beside: str | None) -> Drafted:
    """Return a spec for a folder in KITTI's layout, and why it is as it is; see `detection.coco_draft`.

    Raises:
        InputError: the data cannot be read, or has no boxes.
    """
    machine, notes = this_machine(), dict[str, str]()
    own = part(given, "dataset")
    root = source if "://" in source else str(Path(source).absolute())
    dataset: dict[str, Any] = {"name": "kitti", "root": root, **_lists(source, own), **own}
    splits = valid(Kitti, dataset, "dataset").splits()
    for split, name, most in zip(splits, ("train_images", "val_images"), machine[:2], strict=True):
        if name not in own and len(split) > most:
            dataset[name] = most
            notes[f"dataset.{name}"] = f"Of {len(split):,}: enough for a first curve {machine.name}."
    splits = valid(Kitti, dataset, "dataset").splits()
    aspect = float(np.median([image.width / image.height for image in splits[0].images]))
    return boxes_draft(dataset, splits, given, beside, machine=machine, notes=notes, aspect=aspect)


def _lists(source: str, own: Mapping[str, Any]) -> dict[str, str]:
    """Return the lists of the two splits, where both are there and nobody names others."""
    if "train" in own or "val" in own or "://" in source or not all((Path(source) / name).is_file() for name in LISTS):
        return {}
    return dict(zip(("train", "val"), LISTS, strict=True))


KITTI = Draft("DIR", "folder of a data set in KITTI's layout: training/image_2 and training/label_2", kitti_draft)
