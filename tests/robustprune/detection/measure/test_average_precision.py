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
from torch import Tensor

from robustprune.detection.data.coco import CocoSplit, load_split
from robustprune.detection.measure.average_precision import AveragePrecision, average_precision
from robustprune.detection.measure.matching import Detections, matched

Content = dict[str, Any]
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def val(shapes_root: Path) -> CocoSplit:
    return load_split(shapes_root, "val")


def perfect(split: CocoSplit, change: Callable[[Tensor], Tensor] = lambda boxes: boxes) -> list[Detections]:
    """Return the ground truth as detections, its boxes changed."""
    found = []
    for index, image_id in enumerate(split.image_ids):
        boxes, classes = torch.from_numpy(split.boxes(index)), torch.from_numpy(split.classes(index))
        found.append(Detections(image_id, change(boxes), torch.ones(len(boxes)), classes))
    return found


def noisy(split: CocoSplit, *, per_image: int) -> list[Detections]:
    """Return boxes scattered about the ground truth, many of them of the right class."""
    rng = np.random.default_rng(0)
    found = []
    for index, image_id in enumerate(split.image_ids):
        boxes = np.vstack([split.boxes(index), [[5, 5, 25, 25]]])
        classes = np.append(split.classes(index), 0)
        chosen = rng.integers(len(boxes), size=per_image)
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)[chosen]
        scattered = boxes[chosen] + rng.normal(0, 0.1, sides.shape) * sides
        scattered[:, 2:] = np.maximum(scattered[:, 2:], scattered[:, :2])
        guessed = rng.integers(len(split.category_ids), size=per_image)
        found.append(
            Detections(
                image_id,
                torch.from_numpy(scattered),
                torch.from_numpy(rng.random(per_image)).float(),
                torch.from_numpy(np.where(rng.random(per_image) < 0.7, classes[chosen], guessed)),
            )
        )
    return found


def precision(split: CocoSplit, detections: list[Detections]) -> AveragePrecision:
    return average_precision(matched(split, detections))


def by_pycocotools(split: CocoSplit, detections: list[Detections]) -> list[float]:
    """Return the first three figures of pycocotools' own way from the annotation file to the summary."""
    results = [
        {
            "image_id": found.image_id,
            "category_id": split.category_ids[class_],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for found in detections
        for (x1, y1, x2, y2), score, class_ in zip(
            found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(split.source)
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(figure) for figure in evaluation.stats[:3]]


def test_perfect_detections_have_ap_one(val: CocoSplit) -> None:
    assert precision(val, perfect(val)) == pytest.approx((1, 1, 1))


def test_agrees_with_pycocotools_on_shapes(val: CocoSplit) -> None:
    found = noisy(val, per_image=25)
    result = precision(val, found)
    assert 0.05 < result.ap < result.ap50 < 0.95
    assert result == pytest.approx(by_pycocotools(val, found), abs=1e-12)


def test_agrees_with_pycocotools_on_real_coco(coco_root: Path) -> None:
    split = load_split(coco_root, "val2017")
    found = noisy(split, per_image=120)
    result = precision(split, found)
    assert 0.05 < result.ap < result.ap50 < 0.95
    assert result == pytest.approx(by_pycocotools(split, found), abs=1e-12)


@pytest.mark.parametrize("classes", [1, 2, 6])
def test_agrees_with_pycocotools_where_scores_are_equal_and_many(classes: int, val: CocoSplit) -> None:
    found = [
        one._replace(scores=(one.scores * 3).ceil() / 3, classes=one.classes % classes)
        for one in noisy(val, per_image=130)
    ]
    assert precision(val, found) == pytest.approx(by_pycocotools(val, found), abs=1e-12)


def test_it_is_silent_and_repeatable(val: CocoSplit, capsys: pytest.CaptureFixture[str]) -> None:
    found = noisy(val, per_image=10)
    assert precision(val, found) == precision(val, found)
    assert capsys.readouterr() == ("", "")


def test_nothing_detected_is_zero(val: CocoSplit) -> None:
    nothing = AveragePrecision(0, 0, 0)
    empty = Detections(val.image_ids[0], torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert precision(val, []) == nothing
    assert precision(val, [empty]) == nothing


def test_images_left_out_count_as_missed(val: CocoSplit) -> None:
    assert 0 < precision(val, perfect(val)[:6]).ap50 < 1


def test_boxes_shifted_by_half_their_size_are_wrong(val: CocoSplit) -> None:
    def shifted(boxes: Tensor) -> Tensor:
        return boxes + (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2) / 2

    assert precision(val, perfect(val, shifted)).ap50 < 0.1


def test_boxes_keep_their_fractions(val: CocoSplit) -> None:
    assert precision(val, perfect(val, torch.trunc)).ap < 0.99


def test_wrong_classes_are_wrong(val: CocoSplit) -> None:
    count = len(val.category_ids)
    found = [one._replace(classes=(one.classes + 1) % count) for one in perfect(val)]
    assert precision(val, found).ap50 < 0.2


def test_a_class_without_ground_truth_does_not_count(coco_content: Content, write_coco: Write) -> None:
    split = load_split(write_coco(coco_content), "train")
    assert split.classes(1).tolist() == [1]
    found = perfect(split)
    found[0] = Detections(3, torch.tensor([[0.0, 0.0, 9.0, 9.0]]), torch.ones(1), torch.tensor([0]))
    assert precision(split, found) == pytest.approx((1, 1, 1))


def test_a_split_without_objects_is_zero(coco_content: Content, write_coco: Write) -> None:
    coco_content["annotations"] = []
    split = load_split(write_coco(coco_content), "train")
    assert precision(split, perfect(split)) == AveragePrecision(0, 0, 0)


@pytest.mark.parametrize(("crowd", "expected"), [(1, 1.0), (0, 0.5)])
def test_detections_in_a_crowd_are_ignored(
    crowd: int, expected: float, coco_content: Content, write_coco: Write
) -> None:
    coco_content["annotations"].append(
        {"id": 1, "image_id": 3, "category_id": 90, "bbox": [0, 0, 40, 30], "area": 900, "iscrowd": crowd}
    )
    split = load_split(write_coco(coco_content), "train")
    found = perfect(split)
    inside = torch.tensor([[1.0, 1.0, 9.0, 9.0], [20.0, 5.0, 30.0, 20.0]])
    found[0] = Detections(3, inside, torch.tensor([0.1, 0.1]), torch.tensor([1, 1]))
    assert precision(split, found).ap50 == pytest.approx(expected, abs=0.01)


def test_a_false_alarm_outside_the_crowd_lowers_ap(coco_content: Content, write_coco: Write) -> None:
    split = load_split(write_coco(coco_content), "train")
    found = perfect(split)
    found[0] = Detections(3, torch.tensor([[1.0, 1.0, 9.0, 9.0]]), torch.tensor([2.0]), torch.tensor([1]))
    assert precision(split, found).ap50 == pytest.approx(0.5)
