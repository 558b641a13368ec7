"""A first spec for class folders: a small network, standard and robust, in an afternoon."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robustprune import staging
from robustprune.classification.data.datasets import Folders
from robustprune.classification.data.folders import Survey, split_names, survey
from robustprune.core.errors import InputError
from robustprune.studies.cpu_time import has_gpu
from robustprune.studies.drafts.sizing import (
    RATIOS,
    RATIOS_NOTE,
    SEEDS,
    SEEDS_NOTE,
    Machine,
    batch_for,
    epochs_for,
    epochs_note,
    named_where_elsewhere,
    part,
    valid,
)
from sweeps.study import Draft, Drafted

CPU = Machine(images=1000, measured=300, side=32, name="without a GPU")
GPU = Machine(images=10_000, measured=1000, side=128, name="on a GPU")

LOOKED_AT = 200
"""Pictures of a split whose size is looked at."""

PRETRAINING: dict[str, int] = {"steps": 400, "least": 5, "most": 60}
"""Steps of the bundled demo's training, about."""


@staging.told_by_uri()
def folders_draft(source: str, given: Mapping[str, Any], beside: str | None) -> Drafted:
    """Return a spec for a folder or a zip file of class folders, and why it is as it is.

    Raises:
        InputError: the data cannot be read, or has no two splits.
    """
    machine: Machine = GPU if has_gpu() else CPU
    notes: dict[str, str] = {}
    dataset, images, measured = _dataset(source, part(given, "dataset"), machine, notes)
    batch_size = batch_for(images, most=32)
    of = {"images": images, "batch_size": batch_size}
    epochs = epochs_for(**PRETRAINING, **of)
    settings = {
        "grid": {
            "model": ["resnet8"],
            "training": ["standard", "adversarial"],
            "structure": ["channels"],
            "initializer": ["magnitude", "random"],
            "scope": ["layer"],
            "seed": [*SEEDS],
            "ratio": [*RATIOS],
        },
        "dataset": dataset,
        "pretrain": _training(epochs, batch_size, 0.05),
        "adversary": {"name": "pgd", "epsilon": "2/255", "step_size": "1/255", "steps": 3, "random_start": True},
        "retrain": _training(math.ceil(epochs / 4), batch_size, 0.01),
        "evaluation": {
            "attack": {"name": "pgd", "epsilon": "2/255", "step_size": "0.5/255", "steps": 10, "random_start": True},
            "distances": [{"name": "ddn", "steps": 40}, {"name": "fmn", "norm": "linf", "steps": 40}],
            "images": min(48, measured),
            "blind_queries": 200,
        },
    }
    notes |= {
        "grid.model": "The smallest.",
        "grid.initializer": "Random is what every method has to beat.",
        "grid.seed": SEEDS_NOTE,
        "grid.ratio": RATIOS_NOTE,
        "pretrain.epochs": epochs_note(**PRETRAINING, **of),
        "adversary.epsilon": "A quarter of the usual 8/255, under which so small a network learns little.",
        "retrain.epochs": "A quarter of those before pruning: less would be called short.",
        "evaluation.images": "Few, as such attacks take most of the time.",
    }
    return Drafted(settings, notes)


def _dataset(
    source: str, own: dict[str, Any], machine: Machine, notes: dict[str, str]
) -> tuple[dict[str, Any], int, int]:
    """Return the settings of the data, and how many images there are to train and to measure on."""
    root = source if "://" in source else str(Path(source).absolute())
    dataset: dict[str, Any] = {"name": "folders", "root": root, **_splits(source, own), **own}
    asked = valid(Folders, dataset, "dataset")
    found = {name: survey(asked.folder, getattr(asked, name), most=LOOKED_AT) for name in ("train", "test")}
    images = {}
    for name, most in (("train", machine.images), ("test", machine.measured)):
        counts, field = found[name].counts, f"{name}_images"
        notes[f"dataset.{name}"] = f"{sum(counts.values()):,} images of {len(counts)} classes."
        images[name] = own.get(field) or sum(counts.values())
        drawn = len(counts) * min(most // len(counts), *counts.values())
        # Of each class as many are drawn: where one is rare, all there are make more.
        if images[name] > most and 2 * drawn > most:
            images[name] = dataset[field] = drawn
            notes[f"dataset.{field}"] = f"As many of each class: enough for a first curve {machine.name}."
    if "image_size" not in own:
        dataset["image_size"] = side = _side(found["train"], machine)
        notes["dataset.image_size"] = (
            f"A multiple of 4, at most {machine.side} {machine.name}; the median picture's shorter side has "
            f"{_shorter(found['train'])} pixels."
            + (" What is left of it has to tell classes apart." if side < _shorter(found["train"]) else "")
        )
    return dataset, images["train"], images["test"]


def _splits(source: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names of the splits to train and to measure on, of those that there are.

    Raises:
        InputError: there is none of the two.
    """
    if "train" in own and "test" in own:
        return {}
    named_where_elsewhere(source, "--set dataset.train=NAME and --set dataset.test=NAME")
    root = Path(source)
    names = split_names(root)
    train = own.get("train", next((name for name in names if "train" in name.lower()), None))
    test = own.get("test", next((name for like in ("test", "val") for name in names if like in name.lower()), None))
    if train is None or test is None:
        missing = " and ".join(
            f"{field} (--set dataset.{field}=NAME)"
            for field, name in (("train", train), ("test", test))
            if name is None
        )
        raise InputError(
            f"{root}: found {', '.join(names[:10]) or 'no folder'}, expected a split {missing}: a folder, or zip file, "
            "with a folder of images for each class; part of each class's images can be moved to a second one"
        )
    return {"train": train, "test": test}


def _side(found: Survey, machine: Machine) -> int:
    return max(8, math.ceil(min(machine.side, _shorter(found)) / 4) * 4)


def _shorter(found: Survey) -> int:
    """Return the shorter side of the median picture, in pixels."""
    return int(np.median([min(size) for size in found.sizes]))


def _training(epochs: int, batch_size: int, learning_rate: float) -> dict[str, Any]:
    return {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "schedule": "one-cycle"}


FOLDERS = Draft("DIR", "folder, or zip file, with class folders of images: train/CLASS/*.jpg, test/…", folders_draft)
