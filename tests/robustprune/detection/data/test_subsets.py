"""Pools and parts of splits: the same images with the same objects, and nothing in two places."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import CocoSplit, load_split
from robustprune.detection.data.samples import Samples
from robustprune.detection.data.subsets import check_categories, check_disjoint, pool, shuffled, take

Write = Callable[..., Path]
Content = dict[str, Any]


def told(split: CocoSplit) -> dict[int, tuple[object, ...]]:
    """Return all that a split says of its images, by id."""
    truth = split.ground_truth
    return {
        image_id: (
            split.path(index),
            split.boxes(index).tolist(),
            split.classes(index).tolist(),
            split.mended[index].tolist(),
            [
                {name: value for name, value in record.items() if name != "id"}
                for record in truth.loadAnns(truth.getAnnIds(imgIds=[image_id]))
            ],
        )
        for index, image_id in enumerate(split.image_ids)
    }


@pytest.fixture(scope="module")
def splits(shapes_root: Path) -> tuple[CocoSplit, CocoSplit]:
    return load_split(shapes_root, "train"), load_split(shapes_root, "val")


def test_a_pool_says_what_its_splits_say(splits: tuple[CocoSplit, CocoSplit]) -> None:
    pooled = pool(splits)
    # The ids of shapes alternate: images of the two come in turn.
    assert pooled.image_ids == tuple(sorted(pooled.image_ids))
    assert pooled.image_ids[:4] == (1, 2, 3, 4)
    assert told(pooled) == told(splits[0]) | told(splits[1])
    assert pool(splits[:1]).fingerprint == splits[0].fingerprint
    assert pool(splits).fingerprint == pool(splits[::-1]).fingerprint


@given(data=st.data())
def test_a_part_says_what_the_whole_says(splits: tuple[CocoSplit, CocoSplit], data: st.DataObject) -> None:
    whole = splits[1]
    indices = sorted(data.draw(st.sets(st.integers(0, len(whole) - 1), min_size=1)))
    part = take(whole, indices)
    assert part.image_ids == tuple(whole.image_ids[index] for index in indices)
    assert told(part) == {image_id: told(whole)[image_id] for image_id in part.image_ids}
    assert (part.fingerprint == whole.fingerprint) == (len(part) == len(whole))
    if len(part) > 1:
        assert take(take(whole, indices), [1]).fingerprint == take(whole, indices[1:2]).fingerprint


def test_crowds_and_mended_boxes_go_with_their_images(coco_content: Content, write_coco: Write) -> None:
    crowd = {"id": 1, "image_id": 3, "category_id": 4, "bbox": [0, 0, 40, 30], "area": 900, "iscrowd": 1}
    outside = {"id": 2, "image_id": 3, "category_id": 4, "bbox": [90, 0, 4, 3], "area": 12}
    coco_content["annotations"] += [crowd, outside]
    split = load_split(write_coco(coco_content), "train")
    first, second = take(split, [0]), take(split, [1])
    assert (first.mended.tolist(), second.mended.tolist()) == ([[0, 1, 0]], [[0, 0, 0]])
    assert first.remark is not None
    assert second.remark is None
    assert [record["iscrowd"] for record in first.ground_truth.anns.values()] == [1]
    assert [record["iscrowd"] for record in second.ground_truth.anns.values()] == [0]
    assert len(first.boxes(0)) == 0
    assert len(second.boxes(0)) == 1


def test_the_order_is_of_the_seed_and_the_ids_alone(splits: tuple[CocoSplit, CocoSplit]) -> None:
    whole, half = splits[0], take(splits[0], range(0, len(splits[0]), 2))
    order = shuffled(whole, 1)
    assert sorted(order) == list(range(len(whole)))
    assert order != sorted(order)
    assert order != shuffled(whole, 2)
    kept = [whole.image_ids[index] for index in order if index % 2 == 0]
    assert [half.image_ids[index] for index in shuffled(half, 1)] == kept


def test_every_image_is_drawn_as_often(splits: tuple[CocoSplit, CocoSplit]) -> None:
    times = np.zeros(len(splits[1]))
    for seed in range(1200):
        times[shuffled(splits[1], seed)[:6]] += 1
    # Binomial of mean 600 and standard deviation 17.
    assert abs(times - 600).max() < 90


def test_chosen_images_come_with_their_ground_truth(splits: tuple[CocoSplit, CocoSplit]) -> None:
    """What pictures of detections need: squares, true boxes in them, and names."""
    chosen = [splits[1].image_ids[index] for index in (4, 2)]
    samples = Samples(splits[1], image_size=96)
    batch = samples.batch(splits[1].indices(chosen))
    assert batch.image_ids == tuple(chosen)
    for position, index in enumerate((4, 2)):
        truth = batch.targets[batch.targets[:, 0] == position]
        assert [splits[1].category_names[int(class_)] for class_ in truth[:, 1]] == [
            splits[1].category_names[class_] for class_ in splits[1].classes(index)
        ]


@pytest.mark.parametrize("ids", [(13, 14), (7, 3)])
@pytest.mark.parametrize("names", [("c.png", "d.png"), ("a 0.png", "b'; echo.png")])
def test_ids_and_file_names_are_local_to_a_split(
    ids: tuple[int, int], names: tuple[str, str], coco_content: Content, write_coco: Write
) -> None:
    train = load_split(write_coco(coco_content), "train")
    for record, image_id, name in zip(coco_content["images"], ids, names, strict=True):
        record.update(id=image_id, file_name=name)
    coco_content["annotations"][0]["image_id"] = ids[0]
    root = write_coco(coco_content, "val")
    for name in names:
        Image.new("RGB", (40, 30)).save(root / "val" / name)
    val = load_split(root, "val")
    check_disjoint(train, val)
    pooled = pool([train, val])
    assert pooled.image_ids == ((3, 7, 13, 14) if ids == (13, 14) else (1, 2, 3, 4))
    assert {pooled.path(index) for index in range(4)} == {
        split.path(index) for split in (train, val) for index in (0, 1)
    }
    for index in range(4):
        is_annotated = pooled.path(index).name == (names[0] if pooled.path(index).parent.name == "val" else "a 0.png")
        assert len(pooled.boxes(index)) == is_annotated


@pytest.mark.parametrize("name", ["a 0.png", "./a 0.png"])
def test_a_file_in_both_splits_is_refused(name: str, coco_content: Content, write_coco: Write) -> None:
    root = write_coco(coco_content)
    train = load_split(root, "train")
    (root / "link").symlink_to(root / "train")
    del coco_content["images"][1]
    coco_content["images"][0].update(id=99, file_name=name)
    coco_content["annotations"] = []
    (root / "other.json").write_text(json.dumps(coco_content))
    val = load_split(root, "other", images="link")
    for check in (lambda: check_disjoint(train, val), lambda: pool([train, val])):
        with pytest.raises(
            InputError, match=r"other\.json: 1 images are files of .*train\.json too, one is .*train/a 0\.png, expected"
        ):
            check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda categories: None, None),
        (lambda categories: categories.reverse(), None),
        (lambda categories: categories[0].update(name="drone"), "category 90 'drone' where .* has category 90 'kite'"),
        (lambda categories: categories[0].update(id=5), "category 5 'kite' where .* has category 90 'kite'"),
        (lambda categories: categories.append({"id": 91, "name": "x"}), "91 'x' where .* has no further category"),
    ],
)
def test_splits_must_have_the_same_categories(
    change: Callable[[Any], None], message: str | None, coco_content: Content, write_coco: Write
) -> None:
    coco_content["annotations"] = []
    other = copy.deepcopy(coco_content)
    change(other["categories"])
    root = write_coco(coco_content, "train")
    train, val = load_split(root, "train"), load_split(write_coco(other, "val"), "val")
    if message is None:
        check_categories(train, val)
    else:
        with pytest.raises(InputError, match=rf"val\.json: found .*{message}, expected the same categories"):
            check_categories(train, val)
