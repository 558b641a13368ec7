import copy
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import load_split

Write = Callable[..., Path]
Content = dict[str, Any]


def test_images_and_classes_are_ordered_by_id(coco_content: Content, write_coco: Write) -> None:
    split = load_split(write_coco(coco_content), "train")
    assert len(split) == 2
    assert split.image_ids == (3, 7)
    assert split.category_ids == (4, 90)
    assert split.category_names == ("owl", "kite")
    assert split.boxes(1).tolist() == [[10.5, 5.25, 30.5, 15.25]]
    assert split.classes(1).tolist() == [1]
    assert [split.boxes(1).dtype, split.classes(1).dtype] == [np.dtype(np.float32), np.dtype(np.int64)]
    assert split.mended.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert split.remark is None


def test_images_without_objects_are_kept(coco_content: Content, write_coco: Write) -> None:
    coco_content["annotations"] = []
    split = load_split(write_coco(coco_content), "train")
    assert [split.boxes(index).shape for index in range(2)] == [(0, 4)] * 2
    assert [split.classes(index).shape for index in range(2)] == [(0,)] * 2
    assert split.ground_truth.getImgIds() == [3, 7]


def test_objects_are_found_by_image_whatever_their_order(coco_content: Content, write_coco: Write) -> None:
    coco_content["annotations"] = [
        {"id": n, "image_id": image_id, "category_id": 4, "bbox": [n, 0, 1, 1]}
        for n, image_id in enumerate([7, 3, 7, 3])
    ]
    split = load_split(write_coco(coco_content), "train")
    assert [split.boxes(index)[:, 0].tolist() for index in range(2)] == [[1, 3], [0, 2]]


def test_crowds_are_no_targets_but_ground_truth(coco_content: Content, write_coco: Write) -> None:
    crowd = {"id": 1, "image_id": 7, "category_id": 4, "bbox": [0, 0, 40, 30], "area": 900, "iscrowd": 1}
    coco_content["annotations"].insert(0, crowd)
    split = load_split(write_coco(coco_content), "train")
    assert split.classes(1).tolist() == [1]
    assert len(split.boxes(1)) == 1
    truth = split.ground_truth.loadAnns(split.ground_truth.getAnnIds(imgIds=[7]))
    assert sorted((record["category_id"], record["iscrowd"]) for record in truth) == [(4, 1), (90, 0)]


def test_ground_truth_is_built_silently(
    coco_content: Content, write_coco: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_split(write_coco(coco_content), "train").ground_truth.getCatIds() == [4, 90]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_images_of_any_colour_space_are_rgb(mode: str, coco_content: Content, write_coco: Write) -> None:
    root = write_coco(coco_content)
    path = root / "train" / "a 0.png"
    grey = Image.new("L", (40, 30), 255)
    grey.convert("RGB").convert(mode).save(path, format="JPEG" if mode == "CMYK" else "PNG")
    image = load_split(root, "train").image(1)
    assert image.mode == "RGB"
    assert image.getpixel((20, 15)) == (255, 255, 255)


def test_a_palette_with_transparent_colours_is_read_without_a_warning(
    coco_content: Content, write_coco: Write, recwarn: pytest.WarningsRecorder
) -> None:
    root = write_coco(coco_content)
    picture = Image.new("RGB", (40, 30), (255, 0, 0)).convert("P")
    picture.save(root / "train" / "a 0.png", transparency=bytes([0, 128]))
    assert load_split(root, "train").image(1).getpixel((20, 15)) == (255, 0, 0)
    assert not recwarn.list


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_as_stored_whatever_the_orientation_tag(
    orientation: int, coco_content: Content, write_coco: Write
) -> None:
    root = write_coco(coco_content)
    stored = Image.new("RGB", (40, 30))
    stored.paste((255, 255, 255), (0, 0, 20, 15))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored.save(root / "train" / "a 0.png", format="JPEG", quality=100, exif=exif)
    image = load_split(root, "train").image(1)
    pixels = np.asarray(image)[[7, 7, 22, 22], [10, 30, 10, 30], 0]
    assert (pixels > 128).tolist() == [True, False, False, False]


def test_the_fingerprint_follows_annotations_and_files(coco_content: Content, write_coco: Write) -> None:
    root = write_coco(coco_content)
    before = load_split(root, "train").fingerprint
    assert load_split(root, "train").fingerprint == before

    image = root / "train" / "a 0.png"
    content = image.read_bytes()
    image.write_bytes(content + b"\0")
    assert load_split(root, "train").fingerprint != before
    image.write_bytes(content)
    assert load_split(root, "train").fingerprint == before

    for change in (
        at("annotations", 0, "bbox", 0, value=11.5),
        at("annotations", 0, "iscrowd", value=1),
        at("categories", 0, "name", value="drone"),
        at("images", 1, "id", value=5),
    ):
        other = copy.deepcopy(coco_content)
        change(other)
        (root / "annotations" / "instances_train.json").write_text(json.dumps(other))
        assert load_split(root, "train").fingerprint != before


def test_the_fingerprint_does_not_follow_what_a_detector_never_sees(coco_content: Content, write_coco: Write) -> None:
    root = write_coco(coco_content)
    before = load_split(root, "train").fingerprint
    coco_content["info"] = {"description": "another edition"}
    coco_content["annotations"][0]["segmentation"] = []
    coco_content["images"].reverse()
    (root / "annotations" / "instances_train.json").write_text(json.dumps(coco_content, indent=1))
    assert load_split(root, "train").fingerprint == before


@pytest.mark.parametrize(("content", "message"), [(b"", "the file is empty"), (None, "No such file or directory")])
def test_the_fingerprint_needs_all_images(
    content: bytes | None, message: str, coco_content: Content, write_coco: Write
) -> None:
    root = write_coco(coco_content)
    split = load_split(root, "train")
    image = root / "train" / "a 0.png"
    image.unlink()
    if content is not None:
        image.write_bytes(content)
    with pytest.raises(InputError, match=rf"a 0\.png: {message}, expected an image file"):
        _ = split.fingerprint


def test_images_are_found_by_id(coco_content: Content, write_coco: Write) -> None:
    split = load_split(write_coco(coco_content), "train")
    assert split.indices([7, 3]) == [1, 0]
    with pytest.raises(InputError, match=r"train\.json: found no image of id 4 among the 2 in use"):
        split.indices([7, 4])


def at(*path: str | int, value: object) -> Callable[[Content], None]:
    """Return a change that sets one field."""

    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return change


def without(*path: str | int) -> Callable[[Content], None]:
    """Return a change that removes one field."""

    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        del content[path[-1]]

    return change


OTHER_IMAGE = {"id": 7, "file_name": "c.png", "width": 40, "height": 30}
OTHER_ANNOTATION = {"id": 0, "image_id": 3, "category_id": 4, "bbox": [0, 0, 9, 9], "area": 81}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("images"), "field images is missing, expected objects in an array"),
        (without("annotations"), "field annotations is missing, expected objects in an array"),
        (without("categories"), "field categories is missing, expected objects in an array"),
        (at("images", value=[]), "field images is [], expected objects in an array"),
        (at("categories", value={}), "field categories is {}, expected objects in an array"),
        (at("annotations", 0, value=3), "field annotations[0] is 3, expected objects in an array"),
        (without("images", 1, "width"), "field images[1].width is missing, expected a positive whole number"),
        (
            without("images", 0, "height"),
            "field images[0].height is missing, expected a positive whole number",
        ),
        (at("images", 0, "width", value=0), "field images[0].width is 0, expected a positive whole number"),
        (at("images", 0, "id", value="7"), "field images[0].id is '7', expected a whole number of 64 bits"),
        (
            at("images", 0, "id", value=2**63),
            "field images[0].id is 9223372036854775808, expected a whole number of 64",
        ),
        (at("images", 0, "file_name", value=""), "field images[0].file_name is '', expected a name"),
        (
            at("annotations", 0, "image_id", value=8),
            "field annotations[0].image_id is 8, expected the id of one of the 2 images",
        ),
        (
            at("annotations", 0, "category_id", value=5),
            "field annotations[0].category_id is 5, expected the id of one of the 2 categories",
        ),
        (
            at("annotations", 0, "bbox", value=[1, 2, 3]),
            "field annotations[0].bbox[3] is missing, expected four finite numbers",
        ),
        (
            at("annotations", 0, "bbox", value=[1, 2, 3, 4, 5]),
            "field annotations[0].bbox is [1, 2, 3, 4, 5], expected four finite numbers",
        ),
        (
            at("annotations", 0, "bbox", 2, value=float("nan")),
            "field annotations[0].bbox[2] is nan, expected four finite numbers",
        ),
        (
            at("annotations", 0, "bbox", 2, value=float("inf")),
            "field annotations[0].bbox[2] is inf, expected four finite numbers",
        ),
        (
            at("annotations", 0, "bbox", 1, value="2"),
            "field annotations[0].bbox[1] is '2', expected four finite numbers",
        ),
        (
            at("annotations", 0, "bbox", value=None),
            "field annotations[0].bbox is None, expected four finite numbers",
        ),
        (
            at("annotations", 0, "area", value="big"),
            "field annotations[0].area is 'big', expected a finite number",
        ),
        (at("annotations", 0, "iscrowd", value=2), "field annotations[0].iscrowd is 2, expected 0 or 1"),
        (
            lambda content: content["images"].append(OTHER_IMAGE),
            "field images[2].id is 7 again, expected unique ids",
        ),
        (
            lambda content: content["annotations"].append(OTHER_ANNOTATION),
            "field annotations[1].id is 0 again, expected unique ids",
        ),
        (at("categories", 1, "id", value=90), "field categories[1].id is 90 again, expected unique ids"),
        *(
            (
                at("images", 1, "file_name", value=name),
                f"field images[1].file_name is {name!r}, expected a relative path inside the image folder, with",
            )
            for name in (
                *("..", "../val/a.png", "a/../../b.png", "a/../b.png", "/etc/passwd", "//host/a.png"),
                *("..\\a.png", "a\\b.png", "C:\\a.png", "C:a.png", "\\\\host\\a.png", "a\0.png", "a\0/b.png"),
            )
        ),
        *(
            (
                at("images", 1, "file_name", value=name),
                f"field images[1].file_name is {name!r} again, expected unique names",
            )
            for name in ("a 0.png", "./a 0.png", ".//a 0.png")
        ),
        (
            at("images", 1, "file_name", value="."),
            "field images[1].file_name is '.', expected a file in ",
        ),
        (
            at("images", 1, "file_name", value="c.png"),
            "field images[1].file_name is 'c.png', expected a file in ",
        ),
        (
            at("images", 1, "file_name", value="x/c.png"),
            "field images[1].file_name is 'x/c.png', expected a file in ",
        ),
    ],
)
def test_wrong_content_is_one_sentence_with_file_and_field(
    change: Callable[[Content], None], message: str, coco_content: Content, write_coco: Write
) -> None:
    change(coco_content)
    root = write_coco(coco_content)
    with pytest.raises(InputError) as caught:
        load_split(root, "train")
    assert str(caught.value).startswith(f"{root / 'annotations' / 'instances_train.json'}: {message}")
    assert "\n" not in str(caught.value)


def test_missing_files_are_counted(coco_content: Content, write_coco: Write) -> None:
    root = write_coco(coco_content)
    for path in (root / "train").iterdir():
        path.unlink()
    with pytest.raises(
        InputError, match=r"'a 0\.png', expected a file in .*train, which lacks those of 1 more images$"
    ):
        load_split(root, "train")


def test_a_missing_annotation_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"instances_val\.json: No such file or directory, expected a COCO"):
        load_split(tmp_path, "val")


@pytest.mark.parametrize("damage", ["no image", "cut", "bomb"])
def test_a_damaged_image(damage: str, coco_content: Content, write_coco: Write) -> None:
    root = write_coco(coco_content)
    path = root / "train" / "a 0.png"
    content = path.read_bytes()
    # A bomb says that it has many pixels: 20,000 x 20,000, at the place of the size in a PNG.
    size = struct.pack(">II", 20_000, 20_000)
    header = content[12:16] + size + content[24:29]
    bomb = content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    path.write_bytes({"no image": b"no image", "cut": content[:50], "bomb": bomb}[damage])
    with pytest.raises(InputError, match=r"a 0\.png: .*expected an image file") as caught:
        load_split(root, "train").image(1)
    assert "\n" not in str(caught.value)


def test_an_image_of_another_size(coco_content: Content, write_coco: Write) -> None:
    coco_content["images"][0]["width"] = 41
    with pytest.raises(
        InputError, match=r"a 0\.png: found 40 x 30 pixels as stored, expected 41 x 30 as in .*train\.json"
    ):
        load_split(write_coco(coco_content), "train").image(1)


def test_real_coco(coco_root: Path) -> None:
    train, val = load_split(coco_root, "train2017"), load_split(coco_root, "val2017")
    for split in (train, val):
        content = json.loads(Path(split.source).read_text())
        objects = [record for record in content["annotations"] if not record["iscrowd"]]
        assert len(split.category_ids) == 80
        assert len(split) == len(content["images"])
        assert sum(len(split.boxes(index)) for index in range(len(split))) == len(objects)
        assert split.remark is None

        last = objects[-1]
        index = split.image_ids.index(last["image_id"])
        x, y, width, height = last["bbox"]
        distance = np.abs(split.boxes(index) - [x, y, x + width, y + height]).max(axis=1)
        assert distance.min() < 1e-3
        assert split.category_ids[split.classes(index)[distance.argmin()]] == last["category_id"]


def test_real_greyscale_files_are_rgb(coco_root: Path) -> None:
    greyscale = []
    for name in ("train2017", "val2017"):
        split = load_split(coco_root, name)
        for index in range(len(split)):
            with Image.open(split.path(index)) as file:
                if file.mode == "L":
                    greyscale.append(np.array(split.image(index)))
    assert greyscale
    assert all((pixels == pixels[..., :1]).all() and pixels.shape[2] == 3 for pixels in greyscale)
