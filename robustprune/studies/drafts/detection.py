"""A first spec for a data set of boxes: small enough for an afternoon, and such that its detector can learn them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robustprune.core.errors import InputError
from robustprune.detection import networks
from robustprune.detection.anchors.detector import AnchorDetector
from robustprune.detection.darknet import cfg
from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.datasets import Coco
from robustprune.detection.data.description import box_sides
from robustprune.detection.data.layouts import split_names
from robustprune.detection.detector import Detector
from robustprune.detection.image_size import ImageSize, in_words, smallest
from robustprune.studies.cpu_time import has_gpu
from robustprune.studies.detection.data_fit import MOST_UNREACHED, anchors_of, as_in_a_cfg, unreached, whole_anchors
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

CPU = Machine(images=1000, measured=200, side=192, name="without a GPU")
GPU = Machine(images=5000, measured=1000, side=416, name="on a GPU")

SMALLEST_DETECTOR = "yolov3-nano"
"""Of those that are bundled."""

SMALLEST = 64
"""Side of an image in pixels, where pictures are as large."""

HELD_OUT = 0.2
"""Part of the images of a single split that is measured on."""

BASE: dict[str, int] = {"steps": 720, "least": 5, "most": 150}
PRETRAINING: dict[str, int] = {"steps": 120, "least": 3, "most": 40}
"""Steps of the bundled demo's trainings, about."""


def coco_draft(source: str, given: Mapping[str, Any], beside: str | None) -> Drafted:
    """Return a spec for a folder of a COCO data set, in any of the layouts in `data.layouts`, and why it is as it is.

    Where the anchors of the smallest bundled detector do not suit the boxes, a copy whose anchors do lies beside it.

    Raises:
        InputError: the data cannot be read, has no boxes, or no split to train on.
    """
    machine, notes = this_machine(), dict[str, str]()
    dataset = _dataset(source, part(given, "dataset"), machine, notes)
    splits = valid(Coco, dataset, "dataset").splits()
    return boxes_draft(dataset, splits, given, beside, machine=machine, notes=notes)


def this_machine() -> Machine:
    """Return what a first curve may take here."""
    return GPU if has_gpu() else CPU


def boxes_draft(
    dataset: Mapping[str, Any],
    splits: tuple[CocoSplit, CocoSplit],
    given: Mapping[str, Any],
    beside: str | None,
    *,
    machine: Machine,
    notes: dict[str, str],
    aspect: float = 1.0,
) -> Drafted:
    """Return a spec for a data set of boxes.

    Args:
        dataset: its settings.
        splits: to train on, and to measure on.
        given: as `sweeps.study.Draft.write` takes it.
        beside: likewise.
        machine: what a first curve may take.
        notes: on the settings of the data; others are added.
        aspect: how many times as wide as high the network's images are.

    Raises:
        InputError: a split has no boxes.
    """
    train, val = splits
    for name, split in (("train", train), ("val", val)):
        boxes = int((~split.objects.crowds).sum())
        if not boxes:
            raise InputError(f"{split.source}: found no box in {len(split)} images, expected some")
        said = f"{len(split):,} images with {boxes:,} boxes of {len(split.categories)} classes."
        notes[f"dataset.{name}"] = f"{said} {notes.get(f'dataset.{name}', '')}".rstrip()
    files: dict[str, str] = {}
    detector = _detector(part(given, "detector"), train, machine, notes, aspect)
    if beside is not None and "config" not in part(given, "detector"):
        files = _with_own_anchors(detector, train, f"{beside}.cfg", notes)
    settings = {
        "grid": {
            "structure": ["unstructured"],
            "initializer": ["magnitude", "hydra"],
            "colour": ["rgb"],
            "seed": [*SEEDS],
            "ratio": [*RATIOS],
        },
        "dataset": dataset,
        "detector": detector,
        "attack": {"name": "pgd", "epsilon": 0.01, "step_size": 0.004, "steps": 5},
        **_trainings(len(train), detector, notes),
        "evaluation": {"margin": {"steps": 5}},
        "detections": {"confidence": 0.1},
    }
    notes |= {
        "grid.initializer": "Magnitude is the method to beat; `python -m robustprune methods` lists others.",
        "grid.seed": SEEDS_NOTE,
        "grid.ratio": RATIOS_NOTE,
        "attack.epsilon": "A fifth of the reference study's: a small detector is left with nothing under 0.05.",
        "evaluation.margin": "A quarter of the default's steps, for time.",
        "detections.confidence": "Small detectors are seldom sure.",
    }
    return Drafted(settings, notes, files)


def _dataset(source: str, own: dict[str, Any], machine: Machine, notes: dict[str, str]) -> dict[str, Any]:
    """Return the settings of the data: a split to train on, one to measure on, and how many images of each."""
    root = source if "://" in source else str(Path(source).absolute())
    dataset: dict[str, Any] = {"name": "coco", "root": root, **_splits(source, own, notes), **own}
    one_split = dataset["val"] is None
    every = valid(Coco, {**dataset, "train_images": 1 if one_split else None, "val_images": None}, "dataset").splits()
    images = sum(map(len, every)) if one_split else len(every[0])
    train = min(machine.images, max(1, images - math.ceil(HELD_OUT * images)) if one_split else images)
    measured = min(machine.measured, images - train if one_split else len(every[1]))
    if "train_images" not in own and (one_split or train < images):
        dataset["train_images"] = train
        notes["dataset.train_images"] = f"Of {images:,}: enough for a first curve {machine.name}."
    if "val_images" not in own and measured < (images - train if one_split else len(every[1])):
        dataset["val_images"] = measured
        notes["dataset.val_images"] = "Likewise."
    return dataset


def _splits(source: str, own: Mapping[str, Any], notes: dict[str, str]) -> dict[str, Any]:
    """Return the names of the splits to train and to measure on, of those that there are.

    Raises:
        InputError: there are none, or none of them is plainly to be trained on.
    """
    if "annotations" in own or "train" in own:
        return {"train": "train", "val": own.get("val")}
    named_where_elsewhere(source, "--set dataset.train=NAME, and --set dataset.val=NAME if there is another,")
    root = Path(source)
    names = split_names(root)
    train = next((name for name in names if "train" in name.lower()), names[0] if len(names) == 1 else None)
    if train is None:
        raise InputError(
            f"{root}: found the splits {', '.join(names)}, expected one whose name has `train` in it, or --set "
            "dataset.train=NAME --set dataset.val=NAME"
        )
    others = [name for name in names if name != train]
    val = next((name for like in ("val", "test", "") for name in others if like in name.lower()), None)
    if val is None:
        notes["dataset.val"] = f"{train} is the only split: these are drawn from it, and never trained on."
    elif len(others) > 1:
        notes["dataset.val"] = f"Not used: {', '.join(name for name in others if name != val)}."
    return {"train": train, "val": val}


def _detector(
    own: dict[str, Any], train: CocoSplit, machine: Machine, notes: dict[str, str], aspect: float
) -> dict[str, Any]:
    """Return the settings of the detector: the smallest one, and the size of images at which it can learn the boxes."""
    detector: dict[str, Any] = {"config": SMALLEST_DETECTOR, **own}
    notes["detector.config"] = (
        f"The smallest of those bundled, with {len(train.categories)} classes as in the data; yolov3-tiny, yolov3 and "
        "yolov3-spp are for GPUs."
    )
    if "image_size" in own or own.get("weights") is not None:
        return detector
    network = networks.build(str(detector["config"]), classes=len(train.categories), image_size=SMALLEST)
    # As many pixels, in whatever shape.
    largest = round(machine.side * math.sqrt(aspect) / network.stride) * network.stride
    if not isinstance(network, AnchorDetector):
        size = _sizes(train, network, largest, aspect)[-1]
        detector["image_size"] = size if isinstance(size, int) else [*reversed(size)]
        notes["detector.image_size"] = (
            f"A multiple of {network.stride}, at most {largest} {'' if aspect == 1 else 'wide '}{machine.name} and no "
            "larger than the pictures."
        )
        return detector
    size, left_out = _size(train, network, largest, aspect)
    detector["image_size"] = size if isinstance(size, int) else [*reversed(size)]
    notes["detector.image_size"] = (
        f"A multiple of {network.stride}, at most {largest} {'' if aspect == 1 else 'wide '}{machine.name} and no "
        "larger than the pictures: the smallest at which about as many boxes as possible fit the anchors of the .cfg; "
        f"{left_out:.0%} do not, and cannot be learned."
    )
    return detector


def _with_own_anchors(detector: dict[str, Any], train: CocoSplit, path: str, notes: dict[str, str]) -> dict[str, str]:
    """Point a detector to a copy of its .cfg with anchors that suit the boxes, if its own do not, and return that."""
    given = detector.get("image_size")
    if given is None or detector.get("weights") is not None:
        return {}
    size: ImageSize = given if isinstance(given, int) else (given[1], given[0])
    network = networks.build(SMALLEST_DETECTOR, classes=len(train.categories), image_size=size)
    assert isinstance(network, AnchorDetector)
    own = anchors_of(network)
    boxes = box_sides(train, size, "letterbox")
    left_out = float(unreached(boxes, own).mean())
    if left_out <= MOST_UNREACHED:
        return {}
    fitted = whole_anchors(boxes, len(own))
    detector["config"] = path
    notes["detector.config"] = (
        f"The smallest of those bundled, {SMALLEST_DETECTOR}, with anchors that suit the boxes: "
        f"{float(unreached(boxes, fitted).mean()):.0%} differ so much from all of them that they cannot be learned, "
        f"and {left_out:.0%} from its own. On a cluster, the file has to be on every node."
    )
    notes["detector.image_size"] = notes.get("detector.image_size", "").partition(": the smallest")[0].rstrip(".") + "."
    text = re.sub(r"(?m)^anchors=.*$", f"anchors={as_in_a_cfg(fitted)}", cfg.bundled()[SMALLEST_DETECTOR])
    about = f"# {SMALLEST_DETECTOR} with anchors for {train.source} at {in_words(size)} pixels, by `sweeps new`.\n"
    return {".cfg": about + text}


def _size(train: CocoSplit, network: AnchorDetector, largest: int, aspect: float) -> tuple[ImageSize, float]:
    """Return a size for images, and the part of the boxes that no anchor reaches at it."""
    sizes = _sizes(train, network, largest, aspect)
    anchors = anchors_of(network)
    left_out = {size: float(unreached(box_sides(train, size, "letterbox"), anchors).mean()) for size in sizes}
    least = min(left_out.values())
    # Where most fit none, larger images are all that can help.
    size = next(size for size in sizes if left_out[size] <= least + 0.02) if least < 0.5 else sizes[-1]
    return size, left_out[size]


def _sizes(train: CocoSplit, network: Detector, largest: int, aspect: float) -> list[ImageSize]:
    """Return the sizes that images may have, up to that of the pictures."""
    step = network.stride * math.ceil(32 / network.stride)
    pictures = np.median([max(image.width, image.height) for image in train.images])
    most = max(step, min(largest, math.ceil(pictures / step) * step) // step * step)
    widths = range(min(max(step, SMALLEST // step * step), most), most + 1, step)
    return [smallest(max(1, round(width / aspect / step)) * step, width) for width in widths]


def _trainings(images: int, detector: Mapping[str, Any], notes: dict[str, str]) -> dict[str, Any]:
    """Return the settings of all that trains."""
    is_whole = detector.get("weights") is not None and detector.get("weights_cutoff") is None
    batch_size = batch_for(images, most=16)
    of = {"images": images, "batch_size": batch_size}
    epochs = epochs_for(**PRETRAINING, **of)
    notes["pretrain.epochs"] = epochs_note(**PRETRAINING, **of)
    notes["finetune.epochs"] = "A quarter of those before pruning: less would be called short."
    notes["renewal.images"] = "As in the bundled demo."
    rates = (0.002, 0.002) if is_whole else (0.01, 0.006)
    trainings: dict[str, Any] = {}
    if not is_whole:
        base = epochs_for(**BASE, **of)
        trainings["base"] = {"epochs": base, "learning_rate": 0.004, "batch_size": batch_size}
        notes["base.epochs"] = epochs_note(**BASE, **of)
    return trainings | {
        "pretrain": {"epochs": epochs, "learning_rate": rates[0], "batch_size": batch_size},
        "finetune": {"epochs": math.ceil(epochs / 4), "learning_rate": rates[1], "batch_size": batch_size},
        "renewal": {"images": max(2, min(64, images))},
        "initializers": {"hydra": {"epochs": 1, "batch_size": batch_size}},
    }


COCO = Draft("DIR", "folder of a COCO data set, or as Roboflow, CVAT, FiftyOne or Label Studio export one", coco_draft)
