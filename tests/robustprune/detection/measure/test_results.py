"""Detections are read from COCO's results as they were written, and what is wrong with a file is one sentence."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from robustprune.core.errors import InputError
from robustprune.detection.data.classes import by_name
from robustprune.detection.data.coco import CocoSplit, load_split
from robustprune.detection.measure.average_precision import average_precision
from robustprune.detection.measure.matching import Detections, matched_by_size
from robustprune.detection.measure.results import read_results, write_results


@pytest.fixture
def val(shapes_root: Path) -> CocoSplit:
    return load_split(shapes_root, "val")


def record(**changes: Any) -> dict[str, Any]:
    return {"image_id": 2, "category_id": 1, "bbox": [1, 2, 3.5, 4], "score": 0.5, **changes}


def test_what_was_written_is_read(val: CocoSplit, tmp_path: Path) -> None:
    written = [
        Detections(
            image_id,
            torch.tensor([[1.0, 2, 3, 4.5], [0, 0, 7, 7]])[: index % 3],
            torch.tensor([0.25, 0.125][: index % 3]),
            torch.tensor([3, 0][: index % 3]),
        )
        for index, image_id in enumerate(val.image_ids)
    ]
    write_results(tmp_path / "results.json", val, written)
    (first, *_) = json.loads((tmp_path / "results.json").read_text())
    assert first == {
        "image_id": val.image_ids[1],
        "category_id": val.category_ids[3],
        "bbox": [1, 2, 2, 2.5],
        "score": 0.25,
    }
    read = read_results(tmp_path / "results.json", val)
    assert [found.image_id for found in read] == list(val.image_ids)
    for one, other in zip(read, written, strict=True):
        assert one.boxes.tolist() == other.boxes.tolist()
        assert one.scores.tolist() == other.scores.tolist()
        assert one.classes.tolist() == other.classes.tolist()


def test_what_is_found_of_a_class_that_is_no_category_is_not_written(val: CocoSplit, tmp_path: Path) -> None:
    ((split,), _) = by_name([val], ["owl", *val.category_names])
    boxes = torch.tensor([[1.0, 2, 3, 4], [0, 0, 7, 7]])
    found = [Detections(val.image_ids[0], boxes, torch.tensor([0.5, 0.25]), torch.tensor([0, 1]))]
    write_results(tmp_path / "results.json", split, found)
    (record,) = json.loads((tmp_path / "results.json").read_text())
    assert (record["category_id"], record["score"]) == (val.category_ids[0], 0.25)


@pytest.mark.parametrize("side", [32, 96])
def test_precision_by_size_is_that_of_pycocotools(
    side: int, coco_content: dict[str, Any], write_coco: Callable[..., Path], tmp_path: Path
) -> None:
    """Of boxes at the limit of two sizes, whose corners are not whole numbers."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 3000, (40, 2)) / 10
    assert (
        ((corners + side - corners) ** 2).prod(axis=1).min()
        < side**4
        < ((corners + side - corners) ** 2).prod(axis=1).max()
    )
    coco_content["images"] = [{**image, "width": 400, "height": 400} for image in coco_content["images"]]
    (first, *_) = coco_content["images"]
    owned = {"image_id": first["id"], "category_id": 90, "iscrowd": 0, "area": side**2}
    coco_content["annotations"] = [
        {**owned, "id": id_, "bbox": [x, y, side, side]} for id_, (x, y) in enumerate(corners.tolist()[::2], start=1)
    ]
    scores = rng.random(len(corners)).tolist()
    results = [
        {"image_id": first["id"], "category_id": 90, "bbox": [x, y, side, side], "score": score}
        for (x, y), score in zip(corners.tolist(), scores, strict=True)
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    root = write_coco(coco_content)
    split = load_split(root, "train")
    ours = matched_by_size(split, read_results(tmp_path / "results.json", split))

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(root / "annotations" / "instances_train.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # -1 is what pycocotools says of a size without objects.
    expected = dict(zip(("all", "small", "medium", "large"), evaluation.stats[[0, 3, 4, 5]].clip(0), strict=True))
    assert {size: average_precision(matches).ap for size, matches in ours.items()} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
def test_whole_numbers_may_be_floats(prefix: bytes, val: CocoSplit, tmp_path: Path) -> None:
    content = [record(image_id=float(val.image_ids[1]), category_id=float(val.category_ids[2]), segmentation=[])]
    (tmp_path / "results.json").write_bytes(prefix + json.dumps(content).encode())
    found = read_results(tmp_path / "results.json", val)
    assert found[1].classes.tolist() == [2]
    assert found[1].boxes.tolist() == [[1, 2, 4.5, 6]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annotations": []}, "found {'annotations': []}, expected a list of objects with the fields image_id, "),
        ([3], r"field [0] is 3, expected objects in an array"),
        ([record(), record(score="high")], "field [1].score is 'high', expected a finite number"),
        ([record(score=float("nan"))], "field [0].score is nan, expected a finite number"),
        ([record(bbox=[1, 2, 3])], "field [0].bbox[3] is missing, expected four finite numbers"),
        ([{"image_id": 2, "category_id": 1, "score": 1}], "field [0].bbox is missing, expected four finite numbers"),
        ([record(image_id=999)], "field [0].image_id is 999, expected the id of one of the 12 images in "),
        ([record(category_id=99)], "field [0].category_id is 99, expected the id of one of the 6 categories in "),
        ([record(image_id="2")], "field [0].image_id is '2', expected a whole number of 64 bits"),
        (
            [record(bbox=[1, 2, -3, 4])],
            "field [0].bbox is [1.0, 2.0, -3.0, 4.0], expected x, y, width and height, the ",
        ),
        ([record(bbox=[40, 40, 60, 60])] * 2, "field [0].bbox is [40.0, 40.0, 60.0, 60.0], expected x, y, width and "),
        ([record(bbox=[0.1, 0.2, 0.3, 0.4])] * 2, "field [0].bbox is [0.1, 0.2, 0.3, 0.4], expected x, y, width and "),
        ([record(image_id=2.5)], "field [0].image_id is 2.5, expected a whole number of 64 bits"),
    ],
)
def test_what_is_wrong_is_one_sentence(content: Any, message: str, val: CocoSplit, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        read_results(path, val)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_or_written_is_named(val: CocoSplit, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json: No such file or directory, expected detections as COCO's"):
        read_results(tmp_path / "nowhere.json", val)
    with pytest.raises(InputError, match=r"nowhere/x\.json: No such file or directory, expected a file to write"):
        write_results(tmp_path / "nowhere" / "x.json", val, [])
