"""COCO's average precision at full size: seconds of one core for what a row tells of one set of detections.

Objects and detections are drawn: as many per image and class as COCO's, sizes likewise, three detections about each
object and the others about nothing. `ap_s` is AP, by class and size too; `intervals_s` the bootstrap of a row's
interval; `pycocotools_s` the evaluation and accumulation of the same detections by pycocotools, once they are in the
lists that it takes. `ap_over_pycocotools` is the median of rounds in which both took turns. `max_abs_difference` is
that of the six average precisions by IoU and size.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.output import parser, write
from robustprune.detection.data.coco import CocoSplit, Objects
from robustprune.detection.data.coco_json import CategoryRecord, ImageRecord
from robustprune.detection.measure.average_precision import average_precision
from robustprune.detection.measure.bootstrap import intervals
from robustprune.detection.measure.breakdown import breakdown, means
from robustprune.detection.measure.matching import Detections, matched_by_size

WIDTH, HEIGHT = 640, 480
OBJECTS, CLASSES = 7, 80
CROWDS = 0.01
"""Of all objects, as in COCO."""


def main() -> None:
    """Draw, measure in both ways, and print the figures."""
    command_line = parser(__doc__)
    command_line.add_argument("--images", type=int, default=5000, help="as in val2017 (%(default)s)")
    command_line.add_argument("--detections", type=int, default=100, help="of each image (%(default)s)")
    command_line.add_argument("--rounds", type=int, default=1, help="in which all take turns (%(default)s)")
    arguments = command_line.parse_args()
    torch.set_num_threads(1)
    split = drawn_split(arguments.images)
    write(measure(split, drawn_detections(split, arguments.detections), arguments.rounds), arguments.format)


def measure(split: CocoSplit, detections: list[Detections], rounds: int) -> dict[str, Any]:
    """Return the figures."""
    truth, results = split.ground_truth, _results(split, detections)
    seconds: dict[str, list[float]] = {"ap_s": [], "intervals_s": [], "pycocotools_s": []}
    for _ in range(rounds):
        ours, took = _timed(lambda: _ours(split, detections))
        seconds["ap_s"].append(took)
        seconds["intervals_s"].append(_timed(partial(intervals, ours[1]))[1])
        theirs, took = _timed(lambda: _pycocotools(truth, results))
        seconds["pycocotools_s"].append(took)
    ratios = [theirs / ours for ours, theirs in zip(seconds["ap_s"], seconds["pycocotools_s"], strict=True)]
    return {
        "images": len(split),
        "detections": sum(len(found.scores) for found in detections),
        "classes": CLASSES,
        **{name: statistics.median(each) for name, each in seconds.items()},
        "ap_over_pycocotools": statistics.median(ratios),
        "max_abs_difference": float(np.abs(np.array(ours[0]) - theirs).max()),
    }


def _ours(split: CocoSplit, detections: list[Detections]) -> tuple[list[float], Any]:
    by_size = matched_by_size(split, detections)
    sizes = means(breakdown(by_size))
    by_area = [sizes[f"ap_{size}"] or 0.0 for size in ("small", "medium", "large")]
    return [*average_precision(by_size["all"]), *by_area], by_size["all"]


def _pycocotools(truth: COCO, results: COCO) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(figure) for figure in evaluation.stats[:6]]


def _results(split: CocoSplit, detections: list[Detections]) -> COCO:
    records = [
        {"image_id": found.image_id, "category_id": split.category_ids[class_], "bbox": bbox, "score": score}
        for found in detections
        for bbox, score, class_ in zip(found.bbox.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        return split.ground_truth.loadRes(records)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def drawn_split(images: int) -> CocoSplit:
    """Return a split of so many images that exist in name only."""
    rng = np.random.default_rng(0)
    count = OBJECTS * images
    corners, sides = _boxes(rng, count)
    objects = Objects(
        np.sort(rng.integers(images, size=count)),
        np.hstack([corners, sides]),
        _classes(rng, count),
        0.6 * sides.prod(axis=1),
        rng.random(count) < CROWDS,
    )
    records = tuple(
        ImageRecord(id=number, file_name=f"{number}.jpg", width=WIDTH, height=HEIGHT) for number in range(1, images + 1)
    )
    categories = tuple(CategoryRecord(id=number, name=f"class {number}") for number in range(1, CLASSES + 1))
    mended = np.zeros((images, 3), dtype=np.int64)
    return CocoSplit("drawn", categories, records, (Path(),) * images, objects, mended)


def drawn_detections(split: CocoSplit, count: int) -> list[Detections]:
    """Return so many detections of each image."""
    rng = np.random.default_rng(1)
    found = []
    for index, image_id in enumerate(split.image_ids):
        boxes, classes = split.boxes(index), split.classes(index)
        about = min(3 * len(boxes), count)
        chosen = rng.integers(max(1, len(boxes)), size=about)
        moved = boxes[chosen] + rng.normal(size=(about, 4)) * rng.lognormal(1.5, 1, size=(about, 1))
        corners, sides = _boxes(rng, count - about)
        found.append(
            Detections(
                image_id,
                torch.from_numpy(_ordered(np.vstack([moved, np.hstack([corners, corners + sides])]))).float(),
                torch.from_numpy(
                    np.append(rng.uniform(0.05, 1, about), rng.uniform(0.005, 0.3, count - about))
                ).float(),
                torch.from_numpy(np.append(classes[chosen], _classes(rng, count - about))),
            )
        )
    return found


def _boxes(rng: np.random.Generator, count: int) -> tuple[Any, Any]:
    """Return left and top, width and height; half of COCO's objects have sides below 60 pixels."""
    sides = rng.lognormal(4, 1, size=(count, 2)).clip(4, 400)
    return rng.uniform(size=(count, 2)) * ([WIDTH, HEIGHT] - sides), sides


def _classes(rng: np.random.Generator, count: int) -> Any:
    """Return classes, of which few are many, as persons are."""
    share = 1 / np.arange(1, CLASSES + 1)
    return rng.choice(CLASSES, size=count, p=share / share.sum())


def _ordered(boxes: Any) -> Any:
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    return boxes


if __name__ == "__main__":
    main()
