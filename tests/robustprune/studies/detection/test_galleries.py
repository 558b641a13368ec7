"""What the report shows of a sweep's detections: which images, which models, in which order, and said in words."""

import dataclasses
import io
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import CocoSplit, Objects, load_split
from robustprune.detection.data.coco_json import ImageRecord
from robustprune.studies.detection.galleries import chosen_images, detection_gallery
from sweeps.study import Gallery, Lines


@pytest.fixture(scope="module")
def split(shapes_root: Path) -> CocoSplit:
    return load_split(shapes_root, "val")


def laid_out(*images: list[tuple[int, float]]) -> CocoSplit:
    """Return a split of images of 100 x 100 pixels with objects of (class, side)."""
    objects = [(index, class_, side) for index, image in enumerate(images) for class_, side in image]
    columns = np.array(objects).reshape(-1, 3)
    sides = columns[:, 2]
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=1)
    owners, classes = columns[:, :2].astype(int).T
    return CocoSplit(
        source="",
        categories=(),
        images=tuple(ImageRecord(id=10 + i, file_name=str(i), width=100, height=100) for i in range(len(images))),
        folders=(),
        objects=Objects(owners, boxes, classes, sides**2, np.zeros(len(columns), bool)),
        mended=np.zeros((len(images), 2), int),
    )


def test_images_of_few_large_objects_of_many_classes_are_chosen() -> None:
    crowded = [(class_, 40.0) for class_ in range(9)]
    tiny = [(class_, 3.0) for class_ in range(4)]
    images: list[list[tuple[int, float]]]
    images = [[], crowded, tiny, [(0, 50)], [(0, 50), (0, 60), (0, 70)], [(0, 20), (1, 20)], [(2, 30), (5, 30)]]
    assert chosen_images(laid_out(*images), None) == [6, 5, 3]
    assert chosen_images(laid_out([], crowded, [(0, 50)]), None) == [2, 1, 0]
    assert chosen_images(laid_out([]), None) == [0]


def test_images_that_are_asked_for_come_in_their_order() -> None:
    two = laid_out([], [(0, 50)])
    assert chosen_images(two, [11, 10]) == [1, 0]
    assert chosen_images(two, []) == []
    with pytest.raises(InputError, match=r"^detections.images: found 12, expected ids of the 2 images"):
        chosen_images(two, [10, 12])


def row(structure: str, initializer: str, colour: str, seed: int, ratio: float) -> dict[str, Any]:
    key = f"{structure} {initializer} {colour} {seed} {ratio}"
    names = ("structure", "initializer", "colour", "seed", "ratio", "row_key")
    return dict(zip(names, (structure, initializer, colour, seed, ratio, key), strict=True))


ROWS = [
    row("none", "none", "rgb", 0, 0.0),
    *(row("structured", "hydra", "greyscale", seed, ratio) for seed, ratio in product((3, 4), (0.0, 0.995))),
    row("unstructured", "hydra", "rgb", 4, 0.5),
]


def detections(split: CocoSplit, index: int) -> Lines:
    """Return three detections on the clean image, of which one is unsure, and one under attack."""
    classes = [2, 1, 1, 0]
    return {
        "image_id": np.full(4, split.image_ids[index]),
        "attacked": np.array([False, False, False, True]),
        **{name: np.array([5, 10, 20, 30], np.float32) for name in ("x", "y", "width", "height")},
        "score": np.array([0.9, 0.5, 0.6, 0.7], np.float32),
        "category_id": np.array(split.category_ids)[classes],
        "category": np.array(split.category_names)[classes],
    }


def gallery(split: CocoSplit, kept: Mapping[str, Lines], **settings: Any) -> Gallery:
    chosen = {"images": [0, 1], "confidence": 0.5, "is_baseline": lambda row: row["initializer"] == "none"}
    chosen["baseline_name"] = "the first"
    return detection_gallery(ROWS, kept.get, split=split, **{**chosen, **settings})


@pytest.fixture
def kept(split: CocoSplit) -> dict[str, Lines]:
    return {str(row["row_key"]): detections(split, 0) for row in ROWS}


def test_there_is_a_line_per_configuration_and_ratio_at_the_lowest_seed(
    split: CocoSplit, kept: dict[str, Lines]
) -> None:
    found = gallery(split, kept)
    assert [label for label, _ in found.lines] == [
        "ground truth",
        "the first · rgb",
        "structured · hydra · greyscale",
        "unstructured · hydra · rgb",
        "structured · hydra · greyscale",
    ]
    assert found.steps == ["", "", "0% pruned", "50% pruned", "99.5% pruned"]
    first, second = split.image_ids[:2]
    assert found.heads == [f"image {id_}, {how}" for id_ in (first, second) for how in ("clean", "under attack")]
    assert {len(pictures) for _, pictures in found.lines} == {4}
    kept["structured hydra greyscale 3 0.0"] = detections(split, 1)
    changed = gallery(split, kept)
    assert [i for i in range(5) if found.lines[i] != changed.lines[i]] == [2]


def test_pictures_say_in_words_what_is_surer_than_asked_for(split: CocoSplit, kept: dict[str, Lines]) -> None:
    names = split.category_names
    pictures = gallery(split, kept).lines[1][1]
    assert [picture.text for picture in pictures] == [
        f"clean: 1 {names[2]}, 1 {names[1]}",
        f"under attack: 1 {names[0]}",
        "nothing above 0.5",
        "nothing above 0.5",
    ]
    # What shows nothing is told in words, alike on every image, so that a page need not repeat it.
    assert [bool(picture.image) for picture in pictures] == [True, True, False, False]
    assert pictures[2] == pictures[3]
    pictures = gallery(split, kept, confidence=0.25).lines[1][1]
    assert pictures[0].text == f"clean: 2 {names[1]}, 1 {names[2]}"
    assert pictures[3].text == "nothing above 0.25"


def test_the_ground_truth_is_the_same_under_attack(split: CocoSplit, kept: dict[str, Lines]) -> None:
    clean, attacked, *_ = gallery(split, kept).lines[0][1]
    assert clean == attacked
    names = [split.category_names[class_] for class_ in split.classes(0)]
    assert clean.text.startswith("ground truth: ")
    assert all(f"{names.count(name)} {name}" in clean.text for name in names)


def test_models_that_see_in_greyscale_are_shown_what_they_see(split: CocoSplit, kept: dict[str, Lines]) -> None:
    # Nothing is drawn in the corner.
    for label, pictures in gallery(split, kept).lines[1:]:
        corner = np.asarray(Image.open(io.BytesIO(pictures[0].image))).astype(int)[-60:, -60:]
        assert (np.median(np.ptp(corner, axis=-1)) <= 2) == ("greyscale" in label), label


def test_a_model_of_which_nothing_was_kept_is_left_out(split: CocoSplit, kept: dict[str, Lines]) -> None:
    (last, *_) = reversed(kept)
    assert [label for label, _ in gallery(split, {last: kept[last]}).lines] == [
        "ground truth",
        "unstructured · hydra · rgb",
    ]
    with pytest.raises(InputError, match="^found no detections of any of the 6 models, expected some; .*keep: true"):
        gallery(split, {})


def test_an_image_that_is_gone_is_named(split: CocoSplit, kept: dict[str, Lines], tmp_path: Path) -> None:
    elsewhere = dataclasses.replace(split, folders=(tmp_path,) * len(split))
    with pytest.raises(InputError, match=str(tmp_path)):
        gallery(elsewhere, kept)


def test_pictures_are_small(split: CocoSplit, kept: dict[str, Lines]) -> None:
    sizes = [len(picture.image) for _, pictures in gallery(split, kept).lines for picture in pictures]
    assert max(sizes) < 20_000
