"""How much there is of what in a split, crowds aside, and how large boxes are to a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robustprune.detection.data.coco import load_split
from robustprune.detection.data.description import box_sides, counts
from robustprune.detection.data.letterbox import Fit


def with_crowd(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content with two more boxes in the same image, one of them a crowd."""
    (first,) = content["annotations"]
    more = [{**first, "id": 1, "category_id": 4, "bbox": [0, 0, 4, 3]}, {**first, "id": 2, "iscrowd": 1}]
    return {**content, "annotations": [first, *more]}


def test_images_boxes_and_classes_are_counted(coco_content: dict[str, Any], write_coco: Callable[..., Path]) -> None:
    found = counts(load_split(write_coco(with_crowd(coco_content)), "train"))
    assert found[:5] == (2, 1, 2, 1, 2)
    assert found.of_class.tolist() == [1, 1]


def test_a_split_without_boxes_is_counted_too(coco_content: dict[str, Any], write_coco: Callable[..., Path]) -> None:
    split = load_split(write_coco({**coco_content, "annotations": []}), "train")
    assert counts(split)[:5] == (2, 2, 0, 0, 0)
    assert counts(split).of_class.tolist() == [0, 0]
    assert box_sides(split, 64, "letterbox").shape == (0, 2)


@pytest.mark.parametrize(("fit", "scale"), [("letterbox", (2, 2)), ("stretch", (2, 80 / 30))])
def test_boxes_are_as_large_as_in_the_networks_input(
    fit: Fit, scale: tuple[float, float], coco_content: dict[str, Any], write_coco: Callable[..., Path]
) -> None:
    split = load_split(write_coco(with_crowd(coco_content)), "train")
    assert np.allclose(box_sides(split, 80, fit), np.array([[20, 10], [4, 3]]) * scale)
