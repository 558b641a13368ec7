"""Data sets as tools export them are found, and what is not there is told."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import load_split
from robustprune.detection.data.layouts import root_of, split_names


def write(root: Path, annotations: str, folder: str, names: tuple[str, ...] = ("a 0.png", "b.png")) -> dict[str, Any]:
    """Write a split of blank pictures; its file names are relative to `folder`."""
    for name in names:
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / folder / name)
    content = {
        "images": [{"id": n, "file_name": name, "width": 8, "height": 8} for n, name in enumerate(names)],
        "annotations": [],
        "categories": [{"id": 1, "name": "kite"}],
    }
    (root / annotations).parent.mkdir(parents=True, exist_ok=True)
    (root / annotations).write_text(json.dumps(content))
    return content


@pytest.mark.parametrize(
    ("split", "annotations", "folder"),
    [
        ("val2017", "annotations/instances_val2017.json", "val2017"),
        ("val2017", "annotations/instances_val2017.json", "images/val2017"),
        ("default", "annotations/instances_default.json", "images"),
        ("default", "annotations/instances_default.json", "images/default"),
        ("train", "annotations/train.json", "images/train"),
        ("valid", "valid/_annotations.coco.json", "valid"),
        ("data", "labels.json", "data"),
        ("test", "test/labels.json", "test/data"),
        ("test", "test/result.json", "test/images"),
        ("result", "result.json", "images"),
        ("result", "result.json", "."),
        ("val", "instances_val.json", "val"),
        ("val", "val/annotations.json", "val"),
    ],
)
def test_layouts_are_found(split: str, annotations: str, folder: str, tmp_path: Path) -> None:
    write(tmp_path, annotations, folder)
    found = load_split(tmp_path, split)
    assert found.source == str(tmp_path / annotations)
    assert found.path(0).resolve() == (tmp_path / folder / "a 0.png").resolve()


def test_the_root_of_an_annotation_file_is_the_folder_around_annotations() -> None:
    assert root_of(Path("mine/annotations/x.json")) == Path("mine")
    assert root_of(Path("annotations/x.json")) == Path()
    assert root_of(Path("mine/x.json")) == Path("mine")


def test_a_file_in_place_of_a_root_is_told(tmp_path: Path) -> None:
    write(tmp_path, "mine.json", "val")
    with pytest.raises(
        InputError, match=r"mine\.json: found a file, expected the folder of a data set \(.*--annotations"
    ):
        load_split(tmp_path / "mine.json", "val")


def test_names_may_begin_with_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "result.json", ".", ("images/a.png", "images/b.png"))
    assert load_split(tmp_path, "result").path(1) == tmp_path / "images" / "b.png"


def test_each_split_has_the_pictures_beside_it(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write(tmp_path, f"{split}/_annotations.coco.json", split)
    write(tmp_path, "elsewhere.json", "images")
    for split in ("train", "valid"):
        assert load_split(tmp_path, split).path(0).parent == tmp_path / split


def test_files_are_taken_from_where_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "labels/mine.json", "photos/day 1")
    for root, annotations, images in (
        (tmp_path, "labels/mine.json", "photos/day 1"),
        (tmp_path / "labels", "mine.json", str(tmp_path / "photos" / "day 1")),
    ):
        found = load_split(root, "val2017", annotations=annotations, images=images)
        assert found.path(0).is_file()
    monkeypatch.chdir(tmp_path)
    assert load_split(Path("photos"), "val", annotations="labels/mine.json", images="day 1").path(0).is_file()


def test_a_missing_annotation_file_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, "labels/mine.json", "photos")
    with pytest.raises(
        InputError,
        match=r"instances_val\.json: No such file or directory, .*dataset\.annotations \(--annotations\); found "
        r"labels/mine\.json in ",
    ):
        load_split(tmp_path, "val")
    with pytest.raises(InputError, match=r"other\.json: No such file or directory, expected a COCO annotation file"):
        load_split(tmp_path, "val", annotations="other.json")
    with pytest.raises(InputError, match=r"images\[0\]\.file_name is 'a 0\.png', expected a file in .*/nowhere, which"):
        load_split(tmp_path, "val", annotations="labels/mine.json", images="nowhere")


def test_an_annotation_file_that_is_still_packed_is_told(tmp_path: Path) -> None:
    write(tmp_path, "labels/mine.json", "photos")
    (tmp_path / "labels" / "mine.json").rename(tmp_path / "labels" / "mine.json.gz")
    with pytest.raises(InputError, match=r"found labels/mine\.json\.gz in "):
        load_split(tmp_path, "val")


def test_another_unicode_form_of_a_name_is_told(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    content = write(tmp_path, "annotations/instances_val.json", "val", (decomposed,))
    content["images"][0]["file_name"] = composed
    (tmp_path / "annotations" / "instances_val.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"written composed \(NFC\), where that of the file, .*, expected a file in"):
        load_split(tmp_path, "val")


def test_without_pictures_annotations_are_enough(tmp_path: Path) -> None:
    write(tmp_path, "annotations/instances_val.json", "val")
    for path in (tmp_path / "val").iterdir():
        path.unlink()
    assert len(load_split(tmp_path, "val", with_pictures=False)) == 2


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["annotations/instances_val2017.json", "annotations/instances_train2017.json"], ["train2017", "val2017"]),
        (["annotations/instances_val.json", "annotations/captions_val.json", "info.json"], ["val"]),
        (["annotations/b.json", "annotations/a 0.json"], ["a 0", "b"]),
        (["valid/_annotations.coco.json", "train/_annotations.coco.json"], ["train", "valid"]),
        (["test/labels.json"], ["test"]),
        (["test/result.json"], ["test"]),
        (["labels.json"], ["data"]),
        (["result.json"], ["result"]),
    ],
)
def test_the_splits_that_there_are(files: list[str], names: list[str], tmp_path: Path) -> None:
    for file in files:
        write(tmp_path, file, "data")
    assert split_names(tmp_path) == names


def test_no_split_is_told_as_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="instances_train.json: No such file or directory, expected a COCO annotation"):
        split_names(tmp_path)
