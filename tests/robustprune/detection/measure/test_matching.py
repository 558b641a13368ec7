"""Matches are pycocotools' own, detection by detection, where scores and overlaps are equal and among crowds."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.cocoeval import COCOeval

from robustprune.detection.data.coco import CocoSplit, Objects
from robustprune.detection.data.coco_json import CategoryRecord, ImageRecord
from robustprune.detection.measure.matching import SIZES, Detections, Matches, matched_by_size

IMAGES, CLASSES = 8, 2


@pytest.fixture(params=range(4), ids="seed {}".format)
def scene(request: pytest.FixtureRequest) -> tuple[CocoSplit, list[Detections]]:
    """Return few places, many objects and detections: boxes on a coarse grid, scores in tenths, every tenth a crowd."""
    rng = np.random.default_rng(request.param)
    count = 60
    boxes = np.hstack([10.0 * rng.integers(4, size=(count, 2)), 10.0 * rng.integers(2, 12, size=(count, 2))])
    images, classes = np.sort(rng.integers(IMAGES, size=count)), rng.integers(CLASSES, size=count)
    objects = Objects(images, boxes, classes, boxes[:, 2:].prod(axis=1), rng.random(count) < 0.1)
    records = tuple(ImageRecord(id=3 * n, file_name=f"{n}.png", width=400, height=400) for n in range(IMAGES))
    categories = tuple(CategoryRecord(id=n + 5, name=str(n)) for n in range(CLASSES))
    nothing = np.zeros((IMAGES, 3), dtype=np.int64)
    split = CocoSplit("drawn", categories, records, (Path(),) * IMAGES, objects, nothing)
    found = []
    for record in records:
        corners = 10.0 * rng.integers(4, size=(30, 2))
        corners = np.hstack([corners, corners + 10.0 * rng.integers(2, 12, size=(30, 2))])
        scores, of = rng.integers(1, 10, size=30) / 10, rng.integers(CLASSES, size=30)
        found.append(Detections(record.id, *(torch.from_numpy(each) for each in (corners, scores, of))))
    return split, found


def by_pycocotools(split: CocoSplit, found: list[Detections], class_: int, size: str, limit: int) -> Matches:
    records = [
        {"image_id": one.image_id, "category_id": class_ + 5, "bbox": bbox, "score": score}
        for one in found
        for bbox, score, of in zip(one.bbox.tolist(), one.scores.tolist(), one.classes.tolist(), strict=True)
        if of == class_
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(split.ground_truth, split.ground_truth.loadRes(records), "bbox")
        evaluation.params.catIds = [class_ + 5]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [list(SIZES[size])], [size]
        evaluation.params.maxDets = [limit]
        evaluation.evaluate()
    images = [image for image in evaluation.evalImgs if image is not None]
    scores = np.concatenate([image["dtScores"] for image in images])
    of = np.repeat([image["image_id"] // 3 for image in images], [len(image["dtScores"]) for image in images])
    order = np.argsort(-scores, kind="stable")
    matches, ignored = (
        np.concatenate([image[name] for image in images], axis=1).astype(bool)[:, order]
        for name in ("dtMatches", "dtIgnore")
    )
    objects = np.zeros(IMAGES, dtype=np.int64)
    for image in images:
        objects[image["image_id"] // 3] = np.count_nonzero(image["gtIgnore"] == 0)
    return Matches(of[order], matches & ~ignored, ~ignored, objects)


@pytest.mark.parametrize("limit", [1, 6, 100])
@pytest.mark.parametrize("size", SIZES)
def test_matches_are_those_of_pycocotools(scene: tuple[CocoSplit, list[Detections]], size: str, limit: int) -> None:
    split, found = scene
    ours = matched_by_size(split, found, limit=limit)[size]
    for class_ in range(CLASSES):
        expected = by_pycocotools(split, found, class_, size, limit)
        for name in Matches._fields:
            assert np.array_equal(getattr(ours[class_], name), getattr(expected, name)), name
