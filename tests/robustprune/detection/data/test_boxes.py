"""Boxes that reach out, are empty, negative or no boxes at all are mended, left out, told or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import load_split

Content = dict[str, Any]
Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("bbox", "boxes", "mended", "remark"),
    [
        ([0, 0, 40, 30], [[0, 0, 40, 30]], [0, 0, 0], None),
        ([30, 20, 20, 20], [[30, 20, 40, 30]], [1, 0, 0], "1 boxes that reach out of their image are cut at its edge"),
        ([-5, -5, 10, 10], [[0, 0, 5, 5]], [1, 0, 0], "1 boxes that reach out of their image are cut at its edge"),
        ([30.004, 0, 10, 30], [[30.004, 0, 40, 30]], [0, 0, 0], None),
        ([10, 10, 0, 5], [], [0, 1, 0], "1 boxes without extent inside their image are left out"),
        ([50, 10, 5, 5], [], [0, 1, 0], "1 boxes without extent inside their image are left out"),
        ([-5, 10, 5, 5], [], [0, 1, 0], "1 boxes without extent inside their image are left out"),
        ([10, 10, 5, -5], [], [0, 0, 1], "1 boxes of negative width or height are left out"),
    ],
)
def test_boxes_are_repaired_or_dropped_and_counted(
    bbox: list[float],
    boxes: list[list[float]],
    mended: list[int],
    remark: str | None,
    coco_content: Content,
    write_coco: Write,
) -> None:
    coco_content["annotations"][0]["bbox"] = bbox
    split = load_split(write_coco(coco_content), "train")
    np.testing.assert_allclose(split.boxes(1), np.reshape(boxes, (-1, 4)), rtol=1e-6)
    assert split.mended.tolist() == [[0, 0, 0], mended]
    assert len(split.ground_truth.anns) == len(boxes)
    assert split.remark == (remark and f"{split.source}: {remark}")


@pytest.mark.parametrize(
    ("boxes", "are_corners"),
    [
        ([[2, 3, 12, 9], [30, 20, 40, 30], [20, 5, 35, 25]], True),
        ([[2, 3, 12, 9], [30, 20, 10, 10], [20, 5, 15, 20]], False),
        # A single box that reaches out proves nothing, nor do boxes that are none as corners either.
        ([[2, 3, 12, 9], [5, 5, 40, 10]], False),
        ([[30, 20, 40, 30], [20, 5, 35, 25], [20, 20, 5, 5]], False),
        ([[30, 20, 80, 80], [20, 5, 70, 25]], False),
    ],
)
def test_corners_in_place_of_an_extent_are_refused(
    boxes: list[list[float]], are_corners: bool, coco_content: Content, write_coco: Write
) -> None:
    template = coco_content["annotations"][0]
    coco_content["annotations"] = [{**template, "id": n, "bbox": box} for n, box in enumerate(boxes)]
    root = write_coco(coco_content)
    if are_corners:
        with pytest.raises(
            InputError,
            match=r"annotations\[1\]\.bbox is \[30.0, 20.0, 40.0, 30.0\], expected x, y, width and height, not two "
            r"corners: 2 of 3 boxes reach out of their images",
        ):
            load_split(root, "train")
    else:
        assert len(load_split(root, "train").boxes(1)) == len(boxes)


@pytest.mark.parametrize(
    ("boxes", "are_parts"),
    [([[0.1, 0.2, 0.5, 0.5], [0, 0, 1, 1]], True), ([[0, 0, 0, 0]] * 2, False), ([[0, 0, 1, 1], [0, 0, 1, 2]], False)],
)
def test_parts_of_an_images_sides_in_place_of_pixels_are_refused(
    boxes: list[list[float]], are_parts: bool, coco_content: Content, write_coco: Write
) -> None:
    template = coco_content["annotations"][0]
    coco_content["annotations"] = [{**template, "id": n, "bbox": box} for n, box in enumerate(boxes)]
    root = write_coco(coco_content)
    if are_parts:
        with pytest.raises(
            InputError, match=r"annotations\[0\]\.bbox is .*, expected x, y, width and height in pixels"
        ):
            load_split(root, "train")
    else:
        load_split(root, "train")


@pytest.mark.parametrize("placeholder", ["none", None, -1, -1.0])
def test_the_area_of_a_box_without_one_is_its_own(placeholder: Any, coco_content: Content, write_coco: Write) -> None:
    coco_content["annotations"][0]["area"] = placeholder
    if placeholder == "none":
        del coco_content["annotations"][0]["area"]
    split = load_split(write_coco(coco_content), "train")
    assert [record["area"] for record in split.ground_truth.anns.values()] == [200]
