"""The data sets by name: where their splits come from, and what counts as the same data."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import load_split
from robustprune.detection.data.datasets import Coco, Dataset, Shapes


def shapes(**settings: Any) -> Shapes:
    return Shapes(**{"name": "shapes", "train_images": 3, "val_images": 2, **settings})


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_shapes_are_generated_in_the_cache(tmp_path: Path) -> None:
    train, val = shapes().splits()
    assert (len(train), len(val)) == (3, 2)
    assert train.categories == val.categories
    assert train.path(0).is_relative_to(tmp_path / "cache" / "robustprune")


def test_shapes_are_generated_where_the_user_says(tmp_path: Path) -> None:
    train, _ = shapes(root=str(tmp_path / "here")).splits()
    assert train.path(0).parent == tmp_path / "here" / "train"
    assert not (tmp_path / "cache").exists()


def test_settings_have_folders_of_their_own(tmp_path: Path) -> None:
    sizes = {len(shapes(train_images=count).splits()[0]) for count in (1, 2, 3)}
    assert sizes == {1, 2, 3}
    assert shapes(seed=1).splits()[0].fingerprint != shapes(seed=2).splits()[0].fingerprint


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="is not a `shapes` data set"):
        shapes(root=str(tmp_path)).splits()
    assert files(tmp_path) == {Path("thesis.tex")}


def test_the_fingerprint_of_a_split_is_what_determines_it() -> None:
    train, val = (shapes().fingerprint(split) for split in ("train", "val"))
    assert train != val
    assert shapes(val_images=5).fingerprint("train") == train
    assert shapes(train_images=5).fingerprint("val") == val
    assert shapes(root="elsewhere").fingerprint("train") == train
    for other in ({"seed": 1}, {"train_images": 5}, {"image_size": 96}):
        assert shapes(**other).fingerprint("train") != train
    json.dumps(train)


@pytest.fixture
def coco(coco_content: dict[str, Any], write_coco: Callable[..., Path]) -> Coco:
    """Return two images to train on and, under other names, two to test on."""
    val = json.loads(json.dumps(coco_content))
    root = write_coco(coco_content, "train")
    write_coco(val, "val")
    for number, image in enumerate(val["images"]):
        (root / "val" / image["file_name"]).rename(root / "val" / f"{number}.png")
        image.update(id=image["id"] + 100, file_name=f"{number}.png")
    val["annotations"][0]["image_id"] += 100
    (root / "annotations" / "instances_val.json").write_text(json.dumps(val))
    return Coco(name="coco", root=str(root), train="train", val="val")


def changed(coco: Coco, **settings: Any) -> Coco:
    return Coco.model_validate(coco.model_dump() | settings)


def ids(coco: Coco) -> tuple[tuple[int, ...], tuple[int, ...]]:
    train, val = coco.splits()
    return train.image_ids, val.image_ids


def test_coco_is_read_from_its_folder(coco: Coco) -> None:
    assert ids(coco) == ((3, 7), (103, 107))


def test_images_are_drawn_from_each_split(coco: Coco) -> None:
    drawn = {ids(changed(coco, train_images=1, val_images=1, seed=seed)) for seed in range(30)}
    assert drawn == {((first,), (second,)) for first in (3, 7) for second in (103, 107)}
    assert ids(changed(coco, train_images=2, seed=5)) == ids(coco)


def test_annotations_and_folders_are_settings(coco: Coco, tmp_path: Path) -> None:
    (tmp_path / "annotations" / "instances_val.json").rename(tmp_path / "mine.json")
    (tmp_path / "val").rename(tmp_path / "photos 1")
    elsewhere = changed(coco, annotations={"val": "mine.json"}, images={"val": "photos 1"})
    assert ids(elsewhere) == ((3, 7), (103, 107))
    assert elsewhere.splits()[1].path(0).parent == tmp_path / "photos 1"
    joined = {"train": "train+other", "val": None, "train_images": 2}
    both = changed(
        coco, **joined, annotations={"train": "annotations/instances_train.json+mine.json"}, images="train+photos 1"
    )
    assert sorted(image_id for split in both.splits() for image_id in split.image_ids) == [3, 7, 103, 107]
    with pytest.raises(InputError, match=r"^dataset\.images\.train: found 1 paths, expected 2 joined by \+"):
        changed(coco, **joined, images="train").splits()


def test_what_is_done_with_orientation_tags_is_a_setting(coco: Coco) -> None:
    plain, turned = (changed(coco, exif=exif) for exif in ("ignore", "apply"))
    assert [split.exif for split in turned.splits()] == ["apply", "apply"]
    assert plain.fingerprint("val") == coco.fingerprint("val") != turned.fingerprint("val")


def test_splits_are_pooled_and_the_others_measured(coco: Coco) -> None:
    whole = {3, 7, 103, 107}
    found = set()
    for seed in range(60):
        train, val = ids(changed(coco, train="train+val", val=None, train_images=2, seed=seed))
        assert len(train) == 2
        assert set(train) | set(val) == whole
        found.add(train)
    assert len(found) == 6, "every pair is drawn by some seed"


def test_more_images_never_change_earlier_ones(coco: Coco) -> None:
    pooled = changed(coco, train="val+train", val=None, train_images=1, seed=2)
    one, two = pooled, changed(pooled, train_images=2)
    assert set(ids(one)[0]) < set(ids(two)[0])
    assert set(ids(changed(pooled, val_images=1))[1]) < set(ids(changed(pooled, val_images=2))[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_images": 3}, "dataset.train_images is 3, expected at most 2, the images of .*instances_train.json"),
        ({"val_images": 3}, "dataset.val_images is 3, expected at most 2, the images of .*instances_val.json"),
        (
            {"train": "train+val", "val": None, "train_images": 3, "val_images": 2},
            "dataset.val_images is 2, expected at most 1, the images of .*train.json and .*val.json that are left",
        ),
        (
            {"val": None, "train_images": 2},
            "dataset.val is null, but no images of .*instances_train.json are left",
        ),
        ({"train": "train+train"}, "expected disjoint splits"),
        ({"val": "train"}, "expected disjoint splits"),
        ({"val": "val+train"}, "expected disjoint splits"),
    ],
)
def test_splits_that_cannot_be_had(coco: Coco, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        changed(coco, **settings).splits()


def test_the_others_need_a_number_that_is_drawn(coco: Coco) -> None:
    with pytest.raises(ValidationError, match="with val: null, expected how many images of train are drawn"):
        changed(coco, val=None)


def test_other_categories_are_refused(coco: Coco) -> None:
    path = Path(coco.root, "annotations", "instances_val.json")
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = "drone"
    path.write_text(json.dumps(content))
    for settings in ({}, {"train": "train+val", "val": None, "train_images": 2}):
        with pytest.raises(InputError, match="found category 90 'drone' where .* has category 90 'kite'"):
            changed(coco, **settings).splits()


def test_the_fingerprint_of_coco_is_of_the_images_used(coco: Coco, tmp_path_factory: pytest.TempPathFactory) -> None:
    train, val = (coco.fingerprint(split) for split in ("train", "val"))
    assert train["sha256"] != val["sha256"]
    other = tmp_path_factory.mktemp("other") / "copy"
    shutil.copytree(coco.root, other)
    assert changed(coco, root=str(other)).fingerprint("train") == train
    # Another way to say the same, and a part.
    assert changed(coco, train_images=2, seed=9).fingerprint("train") == train
    assert changed(coco, train_images=1).fingerprint("train") != train
    assert changed(coco, train_images=1).fingerprint("val") == val
    parts = {changed(coco, train_images=1, seed=seed).fingerprint("train")["sha256"] for seed in range(30)}
    assert len(parts) == 2


def test_half_of_real_coco_is_drawn(coco_root: Path) -> None:
    real = {"name": "coco", "root": str(coco_root), "train": "train2017+val2017", "val": None, "train_images": 120}
    train, val = Coco.model_validate(real).splits()
    assert (len(train), len(val)) == (120, 80)
    assert train.image_ids == tuple(sorted(train.image_ids))
    by_id = {
        split.image_ids[index]: split.boxes(index).tolist()
        for name in ("train2017", "val2017")
        for split in [load_split(coco_root, name)]
        for index in range(len(split))
    }
    for part in (train, val):
        for index, image_id in enumerate(part.image_ids):
            assert part.boxes(index).tolist() == by_id.pop(image_id)
            assert part.image(index).size == (part.images[index].width, part.images[index].height)
    assert not by_id


def test_a_missing_annotation_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"instances_train2017\.json"):
        Coco(name="coco", root=str(tmp_path)).splits()


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"name": "imagenet"}, "name"),
        ({"name": "coco"}, "root"),
        ({"name": "coco", "root": ".", "train_images": 0}, "train_images"),
        ({"name": "coco", "root": ".", "train": None}, "train"),
        ({"name": "shapes", "train_images": 0}, "train_images"),
        ({"name": "shapes", "seed": "0"}, "seed"),
        ({"name": "shapes", "sead": 0}, "sead"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        TypeAdapter(Dataset).validate_python(settings)
