"""AP and recall by class and by size are pycocotools' own, whatever the limit of detections."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from robustprune.detection.data.coco import CocoSplit, load_split
from robustprune.detection.measure.breakdown import COLUMNS, breakdown, breakdown_table, means
from robustprune.detection.measure.matching import SIZES, Detections, matched, matched_by_size
from robustprune.detection.measure.results import write_results


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> CocoSplit:
    """Return 12 images with up to 20 objects of all sizes and three classes, one of which has no large ones."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("sizes")
    annotations: list[dict[str, Any]] = []
    for image in range(12):
        for _ in range(int(rng.integers(20))):
            category = int(rng.integers(1, 4))
            width, height = rng.uniform(4, 60 if category == 1 else 220, 2)
            x, y = rng.uniform(0, 400 - width), rng.uniform(0, 300 - height)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": [x, y, width, height],
                    "area": width * height * rng.uniform(0.5, 1),
                    "iscrowd": int(rng.random() < 0.05),
                }
            )
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 400, "height": 300} for n in range(12)],
        "annotations": annotations,
        "categories": [{"id": n, "name": f"class {n}"} for n in (1, 2, 3, 4)],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val.json").write_text(json.dumps(content))
    return load_split(root, "val", with_pictures=False)


@pytest.fixture(scope="module")
def detections(split: CocoSplit) -> list[Detections]:
    """Return many boxes about the objects, and some about nothing."""
    rng, found = np.random.default_rng(1), []
    for index, image_id in enumerate(split.image_ids):
        boxes = np.vstack([split.boxes(index), rng.uniform(0, 100, (5, 4))]).astype(np.float64)
        classes = np.append(split.classes(index), rng.integers(4, size=5))
        chosen = rng.integers(len(boxes), size=60)
        corners = np.sort((boxes[chosen] + rng.normal(0, 3, (60, 4))).reshape(60, 2, 2), axis=1).reshape(60, 4)
        guessed = np.where(rng.random(60) < 0.8, classes[chosen], rng.integers(4, size=60))
        found.append(
            Detections(image_id, torch.from_numpy(corners), torch.from_numpy(rng.random(60)), torch.from_numpy(guessed))
        )
    return found


def by_pycocotools(split: CocoSplit, detections: list[Detections], limits: list[int], path: Path) -> COCOeval:
    """Return what pycocotools makes of the annotation file and the file of results."""
    write_results(path, split, detections)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(split.source)
        evaluation = COCOeval(truth, truth.loadRes(str(path)), "bbox")
        evaluation.params.maxDets = limits
        evaluation.evaluate()
        evaluation.accumulate()
        if limits == [1, 10, 100]:
            evaluation.summarize()
    return evaluation


def test_figures_are_those_of_pycocotools(split: CocoSplit, detections: list[Detections], tmp_path: Path) -> None:
    expected = by_pycocotools(split, detections, [1, 10, 100], tmp_path / "results.json").stats.tolist()
    found = means(breakdown(matched_by_size(split, detections)))
    names = ["ap_small", "ap_medium", "ap_large", "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"]
    assert list(found) == names
    assert list(found.values()) == pytest.approx(expected[3:], abs=1e-12)


@pytest.mark.parametrize("limit", [1, 7, 100, 300])
def test_lines_are_those_of_pycocotools(
    limit: int, split: CocoSplit, detections: list[Detections], tmp_path: Path
) -> None:
    limits = sorted({1, min(10, limit), min(100, limit), limit})
    theirs = by_pycocotools(split, detections, limits, tmp_path / "results.json").eval
    lines = {(line.size, line.class_): line for line in breakdown(matched_by_size(split, detections, limit=limit))}
    for size_index, size in enumerate(SIZES):
        for class_ in range(4):
            precision = theirs["precision"][:, :, class_, size_index, -1]
            recall = {first: theirs["recall"][:, class_, size_index, n].mean() for n, first in enumerate(limits)}
            line = lines.pop((size, class_), None)
            if line is None:
                assert (precision == -1).all()
                continue
            expected = [precision.mean(), precision[0].mean(), precision[5].mean()]
            expected += [recall[min(first, limit)] for first in (1, 10, 100)]
            assert line[3:] == pytest.approx(expected, abs=1e-12)
    assert lines == {}


def test_all_sizes_are_matched_as_alone(split: CocoSplit, detections: list[Detections]) -> None:
    for one, other in zip(matched(split, detections), matched_by_size(split, detections)["all"], strict=True):
        assert all(np.array_equal(first, second) for first, second in zip(one, other, strict=True))


def test_a_table_has_clean_lines_first(split: CocoSplit, detections: list[Detections]) -> None:
    clean, attacked = (breakdown(matched_by_size(split, found)) for found in (detections, detections[:6]))
    table = breakdown_table(split, clean=clean, attacked=attacked)
    assert table.keys() == COLUMNS.keys()
    assert list(table["attacked"]) == [False] * len(clean) + [True] * len(attacked)
    assert list(table["ap"]) == [line.ap for line in (*clean, *attacked)]
    assert table["category"][0] == "class 1"
    empty = breakdown_table(split, clean=[], attacked=[])
    assert {name: column.dtype for name, column in empty.items()} == {name: table[name].dtype for name in COLUMNS}


def test_nothing_to_be_found_is_no_figure(split: CocoSplit) -> None:
    (Path(split.source).parent / "instances_none.json").write_text(
        json.dumps({**json.loads(Path(split.source).read_text()), "annotations": []})
    )
    empty = load_split(Path(split.source).parents[1], "none", with_pictures=False)
    assert set(means(breakdown(matched_by_size(empty, []))).values()) == {None}
