"""Samples of images against pycocotools on data sets in which images occur that often; intervals of them."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from robustprune.detection.data.coco import CocoSplit, load_split
from robustprune.detection.measure.average_precision import average_precision, precision_of_samples
from robustprune.detection.measure.bootstrap import intervals
from robustprune.detection.measure.matching import Detections, Matches, matched

Content = dict[str, Any]


@pytest.fixture(scope="module")
def val(shapes_root: Path) -> CocoSplit:
    return load_split(shapes_root, "val")


def scattered(split: CocoSplit, *, per_image: int) -> list[Detections]:
    """Return boxes about the objects, of different scores: among equals, the order of copies would decide."""
    rng = np.random.default_rng(0)
    found = []
    for index, image_id in enumerate(split.image_ids):
        boxes = np.vstack([split.boxes(index), [[1, 1, 9, 9]]])
        classes = np.append(split.classes(index), 0)
        chosen = rng.integers(len(boxes), size=per_image)
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)[chosen]
        moved = boxes[chosen] + rng.normal(0, 0.1, sides.shape) * sides
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
        guessed = rng.integers(len(split.category_ids), size=per_image)
        own = np.where(rng.random(per_image) < 0.7, classes[chosen], guessed)
        scores = torch.from_numpy(rng.random(per_image)).float()
        found.append(Detections(image_id, torch.from_numpy(moved), scores, torch.from_numpy(own)))
    return found


def of_copies(split: CocoSplit, detections: list[Detections], weights: list[int]) -> list[float]:
    """Return AP by threshold as pycocotools finds it in a data set with so many copies of each image."""
    copies = {
        image_id: [1000 * image_id + copy for copy in range(weight)]
        for image_id, weight in zip(split.image_ids, weights, strict=True)
    }
    truth, results = COCO(), COCO()
    truth.dataset = {
        "images": [{"id": id_} for ids in copies.values() for id_ in ids],
        "categories": [{"id": id_} for id_ in split.category_ids],
        "annotations": [
            {**annotation, "image_id": id_}
            for annotation in split.ground_truth.anns.values()
            for id_ in copies[annotation["image_id"]]
        ],
    }
    results.dataset = {
        **truth.dataset,
        "annotations": [
            {"image_id": id_, "category_id": split.category_ids[class_], "score": score, "area": (x2 - x1) * (y2 - y1)}
            | {"bbox": [x1, y1, x2 - x1, y2 - y1]}
            for found in detections
            for id_ in copies[found.image_id]
            for (x1, y1, x2, y2), score, class_ in zip(
                found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
            )
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        for made in (truth, results):
            for number, annotation in enumerate(made.dataset["annotations"], start=1):
                annotation["id"] = number
            made.createIndex()
        evaluation = COCOeval(truth, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    present = precision[:, :, (precision > -1).all(axis=(0, 1))]
    by_threshold: list[float] = present.mean(axis=(1, 2)).tolist()
    return by_threshold


@pytest.mark.parametrize("seed", range(4))
def test_an_image_counts_as_often_as_it_was_drawn(val: CocoSplit, seed: int) -> None:
    found = scattered(val, per_image=25)
    drawn = np.random.default_rng(seed).integers(len(val), size=len(val))
    weights = np.bincount(drawn, minlength=len(val)).astype(np.int32)
    assert weights.max() > 1 > weights.min()
    (sample,) = precision_of_samples(matched(val, found), weights[None])
    assert sample.tolist() == pytest.approx(of_copies(val, found, weights.tolist()), abs=1e-12)


def test_once_each_it_is_pycocotools_to_the_last_bits(val: CocoSplit) -> None:
    found = scattered(val, per_image=25)
    ones = [1] * len(val)
    (sample,) = precision_of_samples(matched(val, found), np.ones((1, len(val)), np.int32))
    assert sample.tolist() == pytest.approx(of_copies(val, found, ones), abs=1e-15)


def test_crowds_are_ignored_in_every_copy(coco_content: Content, write_coco: Callable[..., Path]) -> None:
    coco_content["annotations"].append(
        {"id": 1, "image_id": 3, "category_id": 90, "bbox": [0, 0, 40, 30], "area": 900, "iscrowd": 1}
    )
    split = load_split(write_coco(coco_content), "train")
    found = scattered(split, per_image=30)
    (sample,) = precision_of_samples(matched(split, found), np.array([[2, 3]], np.int32))
    assert sample.tolist() == pytest.approx(of_copies(split, found, [2, 3]), abs=1e-12)


def test_samples_taken_apart_are_those_taken_together(val: CocoSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    matches = matched(val, scattered(val, per_image=25))
    expected = intervals(matches, draws=20)
    monkeypatch.setattr("robustprune.detection.measure.average_precision.LARGEST", 100)
    assert intervals(matches, draws=20) == expected


def test_intervals_hold_the_value_and_are_the_same_each_time(val: CocoSplit) -> None:
    matches = matched(val, scattered(val, per_image=25))
    found, value = intervals(matches), average_precision(matches)
    assert found.ap.low < value.ap < found.ap.high
    assert found.ap50.low < value.ap50 < found.ap50.high
    assert found == intervals(matches)


def test_the_interval_of_a_proportion_is_the_binomial_one() -> None:
    # One class, one object and one right detection of equal score in some of the images: AP is a step of recall.
    images, right = 400, 240
    hits = np.ones((10, right), np.bool_)
    matches = Matches(np.arange(right), hits, hits, np.ones(images, np.int64))
    low, high = intervals([matches]).ap50
    half = 1.96 * (0.6 * 0.4 / images) ** 0.5
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.015)


def test_nothing_found_and_nothing_to_find_is_zero(val: CocoSplit) -> None:
    assert intervals(matched(val, [])) == ((0, 0), (0, 0))
