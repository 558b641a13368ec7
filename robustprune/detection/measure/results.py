"""Detections in COCO's results format, by which engines compare: a JSON list of boxes with scores; read and written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import FailFast, TypeAdapter

from robustprune.core.errors import InputError
from robustprune.core.files import read_utf8
from robustprune.detection.data.boxes import check_extents
from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.coco_json import Id, Number, validated
from robustprune.detection.measure.matching import Detections, of_known


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """A detection: `bbox` is x, y, width, height in pixels of the image as it is on disk."""

    image_id: Id
    category_id: Id
    bbox: tuple[Number, Number, Number, Number]
    score: Number


_FILE = TypeAdapter(Annotated[list[ResultRecord], FailFast()])


def read_results(path: Path, split: CocoSplit) -> list[Detections]:
    """Return the detections in a file, image by image, on images of `split`.

    Raises:
        InputError: the file is missing or wrong, or knows images or categories that the split does not.
    """
    content = read_utf8(path, "detections as COCO's results, a JSON list")
    expected = "a list of objects with the fields image_id, category_id, bbox and score"
    records: list[ResultRecord] = validated(_FILE, content, path, expected=expected)
    classes = {category_id: class_ for class_, category_id in enumerate(split.category_ids)}
    by_image: dict[int, list[ResultRecord]] = {image_id: [] for image_id in split.image_ids}
    for position, record in enumerate(records):
        for field, value, known, what in (
            ("image_id", record.image_id, by_image, "images"),
            ("category_id", record.category_id, classes, "categories"),
        ):
            if value not in known:
                raise InputError(
                    f"{path}: field [{position}].{field} is {value}, expected the id of one of the {len(known)} {what} "
                    f"in {split.source}"
                )
        by_image[record.image_id].append(record)
    _check_boxes(records, split, path)
    found = []
    for image_id, of_image in by_image.items():
        # In double precision: what is written is measured, to the last digit.
        boxes = np.array([record.bbox for record in of_image], dtype=np.float64).reshape(-1, 4)
        sides = torch.from_numpy(boxes[:, 2:].copy())
        boxes[:, 2:] += boxes[:, :2]
        scores = torch.tensor([record.score for record in of_image], dtype=torch.float64)
        of_class = torch.tensor([classes[record.category_id] for record in of_image], dtype=torch.int64)
        found.append(Detections(image_id, torch.from_numpy(boxes), scores, of_class, sides))
    return found


def _check_boxes(records: Sequence[ResultRecord], split: CocoSplit, path: Path) -> None:
    """Check that boxes are x, y, width and height.

    Raises:
        InputError: one has a negative extent, or they are something else.
    """
    sizes = {image.id: (image.width, image.height) for image in split.images}
    boxes = np.array([record.bbox for record in records], dtype=np.float64).reshape(-1, 4)
    check_extents(boxes, np.array([sizes[record.image_id] for record in records], dtype=np.float64), path, "")
    negative = np.flatnonzero((boxes[:, 2:] < 0).any(axis=1))
    if len(negative):
        raise InputError(
            f"{path}: field [{negative[0]}].bbox is {boxes[negative[0]].tolist()}, expected x, y, width and height, "
            "the latter at least 0"
        )


def check_writable(path: Path) -> None:
    """Check that a file can be written, before there is anything to write.

    Raises:
        InputError: it cannot.
    """
    try:
        path.open("a").close()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a file to write detections to") from None


def write_results(path: Path, split: CocoSplit, detections: Sequence[Detections]) -> None:
    """Write detections on images of `split`; not those of classes that its file has no category for.

    Raises:
        InputError: the file cannot be written.
    """
    records = [
        {
            "image_id": found.image_id,
            "category_id": split.category_ids[class_],
            "bbox": bbox,
            "score": score,
        }
        for found in (of_known(split, one) for one in detections)
        for bbox, score, class_ in zip(found.bbox.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
    ]
    check_writable(path)
    path.write_text(json.dumps(records), encoding="utf-8")
