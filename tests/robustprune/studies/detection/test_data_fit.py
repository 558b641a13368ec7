"""What can be computed and makes no curve all the same is said before anything is trained."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, save_weights
from robustprune.detection.losses.assignment import assign
from robustprune.studies.detection.data_fit import anchors_of, fit_remarks, fitting_anchors, unreached
from robustprune.studies.detection.settings import DetectionSettings
from tests.robustprune.studies.detection.small_study import SPEC, cell, study

Box = tuple[int, str, Sequence[float]]
"""Image, class, and x, y, width and height in pixels."""

GOOD: list[Box] = [(0, "owl", [0, 0, 20, 20]), (1, "kite", [0, 0, 20, 20])]


def dataset(root: Path, train: Sequence[Box], val: Sequence[Box], *, side: int = 64, images: int = 2) -> dict[str, Any]:
    """Write a data set of blank pictures and return its settings."""
    names = ["owl", "kite", "emu"]
    (root / "annotations").mkdir(parents=True)
    for split, boxes in (("train", train), ("val", val)):
        (root / split).mkdir()
        for index in range(images):
            Image.new("RGB", (side, side)).save(root / split / f"{split}{index}.png")
        content = {
            "images": [{"id": n, "file_name": f"{split}{n}.png", "width": side, "height": side} for n in range(images)],
            "annotations": [
                {"id": n, "image_id": image, "category_id": names.index(name), "bbox": bbox}
                for n, (image, name, bbox) in enumerate(boxes)
            ],
            "categories": [{"id": n, "name": name} for n, name in enumerate(names)],
        }
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return {"name": "coco", "root": str(root), "train": "train", "val": "val"}


def remarks(data: dict[str, Any], *, on_cpu: bool = False, **changes: Any) -> list[str]:
    settings = DetectionSettings.model_validate({**SPEC, "dataset": data, **changes})
    torch.manual_seed(0)
    return fit_remarks(settings, Detector.from_cfg("yolov3-nano", classes=3), on_cpu=on_cpu)


SMALL_BATCH = {"epochs": 1, "learning_rate": 0.01, "batch_size": 2}
BATCHES: dict[str, Any] = {"base": SMALL_BATCH, "pretrain": SMALL_BATCH, "finetune": SMALL_BATCH}


def test_what_fits_needs_no_sentence(tmp_path: Path) -> None:
    all_classes: list[Box] = [*GOOD, (0, "emu", [30, 30, 20, 20])]
    assert remarks(dataset(tmp_path / "a", all_classes, all_classes), on_cpu=True, **BATCHES) == []
    assert study().check([cell()]) == []


def test_classes_that_a_split_lacks_are_named(tmp_path: Path) -> None:
    val: list[Box] = [(0, "kite", [0, 0, 20, 20]), (1, "emu", [0, 0, 20, 20])]
    never, unmeasured = remarks(dataset(tmp_path / "a", GOOD, val), **BATCHES)
    train_file, val_file = (tmp_path / "a" / "annotations" / f"instances_{split}.json" for split in ("train", "val"))
    assert never == (
        f"{train_file}: no box to train on of 1 of the 3 classes, emu; {val_file} has 1 box of emu, which no "
        "training here sees"
    )
    assert unmeasured == (
        f"{val_file}: no box to measure on of 1 of the 3 classes, owl: they are no part of average precision"
    )
    (nowhere,) = remarks(dataset(tmp_path / "b", GOOD, GOOD), **BATCHES)
    assert nowhere.endswith("of 1 of the 3 classes, emu and none to measure on")


@pytest.mark.parametrize(("train", "val"), [([], GOOD), (GOOD, [])])
def test_a_split_without_boxes_is_refused(train: list[Box], val: list[Box], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"json: found no box in 2 images to (train|measure) on, expected some"):
        remarks(dataset(tmp_path / "a", train, val))


def test_images_without_boxes_and_large_batches_are_told(tmp_path: Path) -> None:
    own = dataset(tmp_path / "a", GOOD, GOOD, images=5)
    said = remarks(own)
    assert sum("3 of 5 images have no box" in each for each in said) == 2
    assert "pretrain.batch_size is 8, more than the 5 images to train on: an epoch is one step" in said


def test_objects_that_are_too_small_or_fit_no_anchor_are_told(tmp_path: Path) -> None:
    few: list[Box] = [(0, "owl", [0, 0, 10, 10]), (0, "kite", [50, 50, 2, 0.5]), (1, "emu", [0, 0, 3, 3])]
    small, unlearned = remarks(dataset(tmp_path / "a", few, few), **BATCHES)
    assert small == (
        "detector.image_size: at 64x64 67% of the boxes to train on are smaller than a cell of 8 pixels and 33.3% "
        "thinner than a pixel, expected larger images, or parts of them"
    )
    assert (
        ": at 64x64 67% of the boxes to train on are 4 times as large or as small as every anchor (14,14" in unlearned
    )
    assert "the median box is 3,3)" in unlearned


def test_anchors_that_suit_the_boxes_are_told_and_help(tmp_path: Path) -> None:
    flat: list[Box] = [(0, name, [0, 2.0 * n, 60, 3 + n]) for n, name in enumerate(("owl", "kite", "emu"))]
    own = dataset(tmp_path / "a", flat, flat, images=1)
    one: dict[str, Any] = {name: {**SMALL_BATCH, "batch_size": 1} for name in BATCHES}
    (told,) = remarks(own, **one)
    found = re.search(r"or a copy of (.*/yolov3-nano\.cfg) with anchors=([0-9, ]+), which leave 0%$", told)
    assert found is not None
    text = re.sub(r"(?m)^anchors=.*$", f"anchors={found[2]}", Path(found[1]).read_text(encoding="utf-8"))
    (tmp_path / "own.cfg").write_text(text, encoding="utf-8")
    suited = Detector.from_cfg(str(tmp_path / "own.cfg"), classes=3)
    assert not unreached(np.array([[60.0, 3 + n] for n in range(3)]), anchors_of(suited)).any()


def test_anchors_settle_on_the_sizes_that_there_are() -> None:
    sizes = np.array([[3.0, 40.0], [10.0, 10.0], [50.0, 50.0]])
    boxes = np.random.default_rng(1).permutation(np.repeat(sizes, [50, 30, 200], axis=0))
    assert np.allclose(fitting_anchors(boxes, 3), sizes[[1, 0, 2]])
    assert fitting_anchors(sizes[:1], 2).shape == (2, 2)


def test_a_box_is_out_of_reach_where_training_assigns_it_to_nothing() -> None:
    detector = Detector.from_cfg("yolov3-nano")
    sides = np.exp(np.random.default_rng(0).uniform(0, np.log(64), (500, 2)))
    targets = torch.zeros(500, 6)
    targets[:, 0] = torch.arange(500)
    targets[:, 2:4] = 0.5
    targets[:, 4:] = torch.from_numpy(sides / 64)
    reached = {image for head in assign(targets, detector.heads, 64) for image in head.image.tolist()}
    assert 0 < len(reached) < 500
    assert np.flatnonzero(~unreached(sides, anchors_of(detector))).tolist() == sorted(reached)


def test_days_on_a_cpu_are_told(tmp_path: Path) -> None:
    own, long = dataset(tmp_path / "a", GOOD, GOOD), {**SMALL_BATCH, "epochs": 10**7}
    (_, slow) = remarks(own, on_cpu=True, **{**BATCHES, "pretrain": long})
    assert slow.endswith("smaller dataset.train_images, epochs or detector.image_size take less")
    assert len(remarks(own, **{**BATCHES, "pretrain": long})) == 1


def test_weights_of_other_classes_name_both_counts(tmp_path: Path) -> None:
    save_weights(Detector.from_cfg("yolov3-nano"), tmp_path / "six.weights")
    given = {"config": "yolov3-nano", "weights": str(tmp_path / "six.weights")}
    with pytest.raises(InputError) as caught:
        study(detector=given, base=None, dataset=dataset(tmp_path / "a", GOOD, GOOD)).check([cell()])
    assert "the .cfg is of 6 classes, and the data has 3 (owl, kite, emu): detector.names matches" in str(caught.value)
