"""Pictures are opened before anything is trained, and what they tell is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import load_split
from robustprune.detection.data.inspection import crowded, inspect

Content = dict[str, Any]
Write = Callable[..., Path]


@pytest.fixture
def root(coco_content: Content, write_coco: Write) -> Path:
    """Return the folder of two splits of the same ids and names, and of other pictures."""
    write_coco(coco_content, "train")
    root = write_coco(coco_content, "val")
    for shade, path in enumerate(sorted(root.glob("*/*.png"))):
        Image.new("RGB", (40, 30), (shade, 0, 0)).save(path)
    return root


def tagged(path: Path, size: tuple[int, int], orientation: int = 6) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", size).save(path, exif=exif)


def test_whole_pictures_are_worth_no_word(root: Path) -> None:
    assert inspect([load_split(root, "train"), load_split(root, "val")]) == []


def test_a_damaged_picture_is_named(root: Path) -> None:
    path = root / "val" / "a 0.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"val/a 0\.png: .*, expected an image file"):
        inspect([load_split(root, "train"), load_split(root, "val")])


def test_a_picture_of_another_size_is_named(root: Path) -> None:
    Image.new("RGB", (41, 30)).save(root / "val" / "a 0.png")
    with pytest.raises(InputError, match=r"val/a 0\.png: found 41 x 30 pixels as stored, expected 40 x 30 as in .*val"):
        inspect([load_split(root, "val")])


def test_leakage_is_judged_by_content(root: Path) -> None:
    twin = root / "val" / "b'; echo.png"
    twin.write_bytes((root / "train" / "a 0.png").read_bytes())
    splits = [load_split(root, "train"), load_split(root, "val")]
    told = f"1 images have the content of images of {splits[0].source}, {twin} that of {root / 'train' / 'a 0.png'}"
    (remark,) = inspect(splits)
    assert told in remark
    with pytest.raises(InputError) as caught:
        inspect(splits, policy="refuse")
    assert told in str(caught.value)


def test_a_picture_that_lies_on_its_side_names_the_setting(root: Path) -> None:
    tagged(root / "val" / "a 0.png", (30, 40))
    with pytest.raises(
        InputError, match=r"30 x 40 pixels as stored, expected 40 x 30 .* tag is 6, .* \(--exif apply\)"
    ):
        inspect([load_split(root, "val")])
    turned = load_split(root, "val", exif="apply")
    assert inspect([turned]) == [f"{turned.source}: 1 images are turned as their EXIF orientation tag says"]
    assert turned.image(1).size == (40, 30)


def test_a_tag_that_annotations_do_not_follow_names_the_setting(root: Path) -> None:
    tagged(root / "val" / "a 0.png", (40, 30))
    with pytest.raises(InputError, match=r"found 30 x 40 pixels turned, expected 40 x 30 .*exif is ignore \(--exif"):
        load_split(root, "val", exif="apply").image(1)
    split = load_split(root, "val")
    assert inspect([split]) == [
        f"{split.source}: 1 images have an EXIF orientation tag and are taken as they are stored "
        "(exif: apply, or --exif apply, turns them)"
    ]


def test_the_fingerprint_follows_what_is_done_with_tags(root: Path) -> None:
    fingerprints = {load_split(root, "val", exif=exif).fingerprint for exif in ("ignore", "apply")}
    assert len(fingerprints) == 2


def test_pictures_of_16_bits_are_told(root: Path) -> None:
    Image.fromarray(np.full((30, 40), 0xA1FF, dtype=np.uint16)).save(root / "val" / "a 0.png")
    split = load_split(root, "val")
    assert inspect([split]) == [f"{split.source}: 1 images of 16 bits per pixel are scaled to 8"]
    assert split.image(1).getpixel((5, 5)) == (0xA1, 0xA1, 0xA1)


def test_a_file_of_two_ids_is_two_images_where_that_is_allowed(root: Path) -> None:
    path = root / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    one, other = content["images"]
    other["file_name"] = one["file_name"]
    other |= {side: one[side] for side in ("width", "height")}
    path.write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=r"is the same file under another id \(dataset\.repeated_files: allow, or --rep"
    ):
        load_split(root, "val")
    split = load_split(root, "val", repeated_files="allow")
    assert [split.path(index) for index in range(2)] == [root / "val" / one["file_name"]] * 2
    assert inspect([split]) == [f"{path}: 1 images are files of other images too, each with its own objects"]


def test_images_of_more_objects_than_detections_are_told(root: Path) -> None:
    path = root / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    content["annotations"] += [{**content["annotations"][0], "id": n} for n in (1, 2)]
    content["annotations"][2]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    split = load_split(root, "val")
    assert crowded(split, 2, setting="more") == []
    assert crowded(split, 1, setting="more") == [
        f"{path}: 1 images hold more objects than the 1 detections of an image that count, one of them 2 (more)"
    ]
