"""Which category is which class: by name, in old spellings too, and what is said where that is not plain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robustprune.core.errors import InputError
from robustprune.detection.data.classes import by_name, groups_remark, paired_by_position, read_names, without_groups
from robustprune.detection.data.coco import CocoSplit, Objects, load_split
from robustprune.detection.data.coco_json import CategoryRecord, ImageRecord
from robustprune.detection.data.datasets import Coco


def split_of(*names: str, owned: int = 0) -> CocoSplit:
    """Return a split of one object, of the category in that place."""
    return CocoSplit(
        source="val.json",
        categories=tuple(CategoryRecord(number, name) for number, name in enumerate(names, start=1)),
        images=(ImageRecord(1, "a.png", 4, 4),),
        folders=(Path(),),
        objects=Objects(
            np.zeros(1, np.int64), np.array([[0.0, 0, 2, 2]]), np.array([owned]), np.array([4.0]), np.zeros(1, np.bool_)
        ),
        mended=np.zeros((1, 3), np.int64),
    )


def test_classes_take_the_order_of_the_names() -> None:
    ((found,), remarks) = by_name([split_of("blue", "green", "red", owned=2)], ["red", "green", "blue"])
    assert found.category_names == ("red", "green", "blue")
    assert found.category_ids == (3, 2, 1)
    assert found.classes(0).tolist() == [0]
    assert remarks == ()
    (annotation,) = found.ground_truth.dataset["annotations"]
    assert annotation["category_id"] == 3


@pytest.mark.parametrize(
    ("category", "name"),
    [
        ("motorcycle", "motorbike"),
        ("motorbike", "motorcycle"),
        ("airplane", "aeroplane"),
        ("couch", "sofa"),
        ("potted plant", "pottedplant"),
        ("dining table", "diningtable"),
        ("tv", "tvmonitor"),
        ("Traffic-Light", "traffic light"),
        ("stop_sign", "stop sign"),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_old_spellings_are_known(category: str, name: str) -> None:
    ((found,), _) = by_name([split_of("owl", category, owned=1)], [name, "owl"])
    assert found.category_names == (category, "owl")


def test_a_name_as_it_is_written_goes_before_one_that_is_alike() -> None:
    ((found,), _) = by_name([split_of("sofa", "couch")], ["couch", "sofa"])
    assert found.category_names == ("couch", "sofa")
    assert found.category_ids == (2, 1)


def test_a_class_that_is_no_category_stays_without_objects() -> None:
    ((found,), (remark,)) = by_name([split_of("owl")], ["kite", "owl", "person"])
    assert found.category_names == ("kite", "owl", "person")
    assert len(set(found.category_ids)) == 3
    assert [category.name for category in found.added] == ["kite", "person"]
    assert found.classes(0).tolist() == [1]
    assert remark == (
        "val.json: of the detector's 3 classes 2 are no category there, such as 'kite': what is found of them counts "
        "for nothing"
    )


@pytest.mark.parametrize(
    ("categories", "names", "message"),
    [
        (
            ["owl", "kite"],
            ["kite", "person"],
            "found the category 'owl', expected one of the detector's classes (kite, person)",
        ),
        (
            ["couch", "sofa"],
            ["sofa", "owl"],
            "found the categories 'couch' and 'sofa', expected one that is the detector's class",
        ),
    ],
)
def test_categories_with_objects_must_be_a_class(categories: list[str], names: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        by_name([split_of(*categories)], names)
    assert message in str(error.value)


def test_categories_without_objects_may_be_none() -> None:
    ((found,), (remark,)) = by_name([split_of("owl", "things")], ["owl"])
    assert found.category_names == ("owl",)
    assert remark == "val.json: the category 'things' is of no object and no class of the detector, left out"


def grouped(content: dict[str, Any]) -> dict[str, Any]:
    """Return annotations as Roboflow exports them: a first category that is the others' supercategory."""
    return content | {
        "categories": [
            {"id": 0, "name": "birds-and-toys", "supercategory": "none"},
            *({**category, "supercategory": "birds-and-toys"} for category in content["categories"]),
        ]
    }


def test_mere_groups_leave_with_a_remark(coco_content: dict[str, Any], write_coco: Callable[..., Path]) -> None:
    root = write_coco(grouped(coco_content))
    (found,) = without_groups(load_split(root, "train"))
    assert found.category_names == ("owl", "kite")
    assert found.classes(1).tolist() == [1]
    assert groups_remark(found) == (
        f"{found.source}: the category 'birds-and-toys' is only the supercategory of others and of no object, left out"
    )
    plain = dataclasses.replace(found, groups=())
    assert without_groups(plain) == (plain,)
    assert groups_remark(plain) is None


def test_a_group_that_owns_an_object_in_either_split_stays(
    coco_content: dict[str, Any], write_coco: Callable[..., Path]
) -> None:
    content = grouped(coco_content)
    root = write_coco(content)
    content["annotations"][0]["category_id"] = 0
    write_coco(content, "val")
    splits = load_split(root, "train"), load_split(root, "val")
    assert without_groups(*splits) == splits


def test_a_category_that_is_its_own_supercategory_is_none(
    coco_content: dict[str, Any], write_coco: Callable[..., Path]
) -> None:
    """As COCO's person."""
    coco_content["categories"] = [{**each, "supercategory": each["name"]} for each in coco_content["categories"]]
    (found,) = without_groups(load_split(write_coco(coco_content), "train"))
    assert len(found.categories) == 2


def test_a_data_set_of_a_study_goes_without_groups(
    coco_content: dict[str, Any], write_coco: Callable[..., Path]
) -> None:
    content = grouped(coco_content)
    root = write_coco(content)
    for image, name in zip(content["images"], ("c.png", "d.png"), strict=True):
        image["id"] += 100
        image["file_name"] = name
    content["annotations"] = []
    write_coco(content, "val")
    for old, new in (("a 0.png", "c.png"), ("b'; echo.png", "d.png")):
        (root / "val" / old).rename(root / "val" / new)
    train, val = Coco(name="coco", root=str(root), train="train", val="val").splits()
    assert train.category_names == val.category_names == ("owl", "kite")


@pytest.mark.parametrize("text", ["owl\nkite\n", "owl\r\nkite", "\ufeffowl\nkite\n\n\n", " owl \nkite"])
def test_names_are_read_from_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "obj.names").write_bytes(text.encode())
    assert (
        read_names(str(tmp_path / "obj.names"), "--names") == read_names(["owl", "kite"], "--names") == ("owl", "kite")
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file, expected the name of a class in each line"),
        (b" \n", "found no name, expected one for each"),
        (b"version https://git-lfs.github.com/spec/v1\n", "found a Git LFS pointer, whose content"),
        (b"<html>", "found a web page (HTML)"),
        (b"owl\n\nkite\n", "name 2 of 3 is empty"),
        (b"owl\nowl\n", "found 'owl' twice"),
        ("owl\nkite\n".encode("utf-16"), "found text in another encoding, expected names in UTF-8"),
        ("owl\nkite\n".encode("utf-16-le"), "found text in another encoding, expected names in UTF-8"),
    ],
)
def test_names_that_are_none_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "obj.names").write_bytes(content)
    with pytest.raises(InputError) as error:
        read_names(str(tmp_path / "obj.names"), "detector.names")
    assert str(error.value).startswith(f"detector.names: {tmp_path / 'obj.names'}: ")
    assert message in str(error.value)


def test_a_missing_file_of_names_is_named() -> None:
    with pytest.raises(InputError, match="--names: nowhere.names: No such file or directory, expected a file with"):
        read_names("nowhere.names", "--names")


def test_pairing_by_position_is_said() -> None:
    assert paired_by_position(split_of("owl", "kite")).startswith(
        "val.json: the detector's classes are paired with the categories by position, "
    )


def test_what_is_a_group_does_not_depend_on_the_images_drawn(
    coco_content: dict[str, Any], write_coco: Callable[..., Path]
) -> None:
    content = grouped(coco_content)
    content["annotations"][0]["category_id"] = 0
    root = write_coco(content)
    write_coco({**content, "annotations": []}, "other")
    for name in ("a 0.png", "b'; echo.png"):
        (root / "other" / name).rename(root / "other" / f"x {name}")
    path = root / "annotations" / "instances_other.json"
    path.write_text(path.read_text().replace('"file_name": "', '"file_name": "x '))
    for val in ("other", None):
        for seed in range(8):
            train = "train" if val else "train+other"
            settings = Coco(name="coco", root=str(root), train=train, val=val, train_images=1, val_images=1, seed=seed)
            assert {split.category_names for split in settings.splits()} == {("birds-and-toys", "owl", "kite")}
