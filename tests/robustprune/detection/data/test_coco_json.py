"""The parser takes any content apart into records or one sentence, and lets no file name out of its folder."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import load_split
from robustprune.detection.data.coco_json import AnnotationFile, parse, without_polygons

VALID = {
    "images": [
        {"id": 7, "file_name": "a 0.png", "width": 40, "height": 30},
        {"id": 3, "file_name": "x/b.png", "width": 40, "height": 30},
    ],
    "annotations": [
        {"id": 0, "image_id": 7, "category_id": 90, "bbox": [10.5, 5.25, 20, 10], "area": 150, "iscrowd": 0},
        {"id": 1, "image_id": 3, "category_id": 4, "bbox": [0, 0, 40, 30], "iscrowd": 1},
    ],
    "categories": [{"id": 90, "name": "kite"}, {"id": 4, "name": "owl"}],
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
IDS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(min_value=-(10**9), max_value=10**9)
SOURCE = Path("instances.json")


def places(content: Any) -> list[tuple[str | int, ...]]:
    """Return the paths of all values in some JSON, containers included, the whole left out."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path for step, value in inner for path in [(step,), *((step, *rest) for rest in places(value))]]


def parsed(content: bytes) -> AnnotationFile | None:
    """Return what `parse` makes of it; None, checked to be one sentence about the file, where it refuses."""
    refusal = None
    try:
        return parse(content, SOURCE)
    except InputError as error:
        refusal = str(error)
    assert refusal.startswith(f"{SOURCE}: ")
    assert len(refusal.splitlines()) == 1
    return None


@given(place=st.sampled_from(places(VALID)), value=JSON)
@example(place=("annotations", 0, "bbox", 0), value=10**400)
@example(place=("images", 0, "id"), value=2**64)
def test_any_value_in_any_place_is_read_or_refused_in_a_sentence(place: tuple[str | int, ...], value: object) -> None:
    content: Any = copy.deepcopy(VALID)
    target = content
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    file = parsed(json.dumps(content).encode())
    if file is not None:
        ids = {image.id for image in file.images}
        assert len(ids) == len(file.images) > 0
        assert all(record.image_id in ids for record in file.annotations)
        assert all(len(record.bbox) == 4 for record in file.annotations)


@given(content=JSON)
def test_any_json_is_refused_in_a_sentence(content: object) -> None:
    assert parsed(json.dumps(content).encode()) is None


@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused_in_a_sentence(content: bytes) -> None:
    assert parsed(content) is None


@given(
    image_ids=st.lists(IDS, min_size=1, max_size=5, unique=True),
    category_ids=st.lists(IDS, min_size=1, max_size=3, unique=True),
    boxes=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), max_size=5),
    area=st.none() | NUMBERS,
    data=st.data(),
)
def test_what_is_right_is_read_as_it_is_written(
    image_ids: list[int],
    category_ids: list[int],
    boxes: list[tuple[float, ...]],
    area: float | None,
    data: st.DataObject,
) -> None:
    annotations: list[dict[str, Any]] = [
        {
            "id": number,
            "image_id": data.draw(st.sampled_from(image_ids)),
            "category_id": data.draw(st.sampled_from(category_ids)),
            "bbox": box,
            "area": area,
            "iscrowd": data.draw(st.integers(0, 1)),
        }
        for number, box in enumerate(boxes)
    ]
    content = {
        "images": [{"id": i, "file_name": f"{n}.jpg", "width": 1, "height": 9} for n, i in enumerate(image_ids)],
        "annotations": annotations,
        "categories": [{"id": i, "name": str(i), "supercategory": "thing"} for i in category_ids],
        "licenses": [],
    }
    file = parsed(json.dumps(content).encode())
    assert file is not None
    assert [image.id for image in file.images] == image_ids
    assert [category.id for category in file.categories] == category_ids
    for record, written in zip(file.annotations, annotations, strict=True):
        assert list(record.bbox) == list(written["bbox"])
        assert (record.image_id, record.category_id, record.area, record.iscrowd) == tuple(
            written[field] for field in ("image_id", "category_id", "area", "iscrowd")
        )


POLYGONS = st.lists(st.lists(st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9), max_size=6), max_size=3)
CROWDS = st.fixed_dictionaries({"counts": st.lists(st.integers(0, 99), max_size=3), "size": st.just([9, 9])})


@given(
    outlines=st.lists(POLYGONS | CROWDS, min_size=1, max_size=4),
    name=st.text() | st.sampled_from(['"segmentation": [1, 2]', '\\"segmentation": [[]]', "segmentation"]),
    last=st.booleans(),
    indent=st.none() | st.integers(0, 2),
    separators=st.none() | st.just((",", ":")),
)
def test_nothing_is_lost_without_polygons(
    outlines: list[Any], name: str, last: bool, indent: int | None, separators: tuple[str, str] | None
) -> None:
    def text(outlines: list[Any]) -> str:
        record = VALID["annotations"][0]
        content = VALID | {
            "annotations": [
                record | {"id": n, "segmentation": outline} if last else {"segmentation": outline} | record | {"id": n}
                for n, outline in enumerate(outlines)
            ],
            "categories": [{"id": 90, "name": name}],
        }
        return json.dumps(content, indent=indent, separators=separators)

    whole, less = text(outlines), without_polygons(text(outlines).encode())
    assert json.loads(less) == json.loads(text([0 if isinstance(o, list) else o for o in outlines]))
    assert parse(less, SOURCE) == parse(whole.encode(), SOURCE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file, expected a COCO annotation file"),
        ('{"images":\n [}', "not valid JSON, expected value at line 2 column 3"),
        ("[]", "found [], expected an object with the fields images, annotations and categories"),
    ],
)
def test_a_file_that_is_not_the_format(text: str, message: str, write_coco: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=re.escape(f"instances_train.json: {message}")):
        load_split(write_coco(text), "train")


def test_errors_are_told_of_the_file_as_it_is(coco_content: dict[str, Any], write_coco: Callable[..., Path]) -> None:
    coco_content["annotations"][0]["segmentation"] = [[1.5, 2, 3, 4]]
    text = json.dumps(coco_content, indent=1)
    with pytest.raises(InputError, match=rf"not valid JSON, .* at line {text.count(chr(10)) + 1} column"):
        load_split(write_coco(text[:-1]), "train")


NAMES = st.text(alphabet=st.sampled_from("./\\:aC\0 é"), min_size=1, max_size=12) | st.text(min_size=1)


def test_no_file_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    (folder / "aC").mkdir(parents=True)
    for file in (tmp_path / "a", tmp_path / "C", folder / "a", folder / "C", folder / "aC" / "C"):
        file.touch()
    path = tmp_path / "annotations" / "instances_train.json"
    path.parent.mkdir()

    @given(name=NAMES)
    @example(name="a")
    @example(name="aC/C")
    @example(name="../a")
    @example(name="aC/../../a")
    @example(name=str(tmp_path / "a"))
    @example(name="a" * 5000 + "/a")
    def stays_inside(name: str) -> None:
        image = {"id": 1, "file_name": name, "width": 1, "height": 1}
        path.write_text(json.dumps(VALID | {"images": [image], "annotations": []}))
        try:
            split = load_split(tmp_path, "train")
        except InputError:
            assert name not in ("a", "aC/C")
        else:
            assert split.path(0).resolve().is_relative_to(folder)
            assert split.path(0).is_file()

    stays_inside()


def test_whole_numbers_may_be_written_as_floats() -> None:
    content = copy.deepcopy(VALID)
    for records in content.values():
        for record in records:
            record |= {name: float(value) for name, value in record.items() if isinstance(value, int)}
    assert parse(json.dumps(content).encode(), SOURCE) == parse(json.dumps(VALID).encode(), SOURCE)


@pytest.mark.parametrize(
    ("value", "said"), [(64.5, "64.5"), (float("nan"), "nan"), (2.0**60, "1.152921504606847e+18"), ("64.0", "'64.0'")]
)
def test_what_is_no_whole_number_is_refused(value: object, said: str) -> None:
    content: Any = copy.deepcopy(VALID)
    content["images"][1]["width"] = value
    with pytest.raises(InputError, match=re.escape(f"images[1].width is {said}, expected a positive whole number")):
        parse(json.dumps(content).encode(), SOURCE)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-8-sig", None),
        ("utf-16", "found text in UTF-16, expected a COCO annotation file in UTF-8"),
        ("gbk", r"found text that is not UTF-8 \(byte 0xb7 at line 1 column .*GBK.*, expected JSON in UTF-8"),
    ],
)
def test_other_encodings_are_read_or_named(
    encoding: str, message: str | None, coco_content: dict[str, Any], write_coco: Callable[..., Path]
) -> None:
    coco_content["categories"][0]["name"] = "风筝"
    root = write_coco(coco_content)
    text = json.dumps(coco_content, ensure_ascii=False)
    (root / "annotations" / "instances_train.json").write_bytes(text.encode(encoding))
    if message is None:
        assert load_split(root, "train").category_names == ("owl", "风筝")
    else:
        with pytest.raises(InputError, match=rf"instances_train\.json: {message}"):
            load_split(root, "train")


def test_a_file_under_two_ids_is_said_to_be_one() -> None:
    content: Any = copy.deepcopy(VALID)
    content["images"].append({"id": 8, "file_name": "./a 0.png", "width": 40, "height": 30})
    with pytest.raises(
        InputError, match=r"images\[2\].* again, expected unique names: images\[0\] is the same file under another id"
    ):
        parse(json.dumps(content).encode(), SOURCE)
