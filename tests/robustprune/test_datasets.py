"""The data sets by name: where their splits come from, and what counts as the same data."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from robustprune.datasets import Coco, Dataset, Shapes
from robustprune.errors import InputError


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
    assert train.folder.is_relative_to(tmp_path / "cache" / "robustprune")


def test_shapes_are_generated_where_the_user_says(tmp_path: Path) -> None:
    train, _ = shapes(root=str(tmp_path / "here")).splits()
    assert train.folder == tmp_path / "here" / "train"
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


def test_coco_is_read_from_its_folder(coco: Coco) -> None:
    train, val = coco.splits()
    assert train.image_ids == (3, 7)
    assert val.image_ids == (103, 107)


def test_the_fingerprint_of_coco_is_of_its_files(coco: Coco, tmp_path_factory: pytest.TempPathFactory) -> None:
    train, val = (coco.fingerprint(split) for split in ("train", "val"))
    assert train["sha256"] != val["sha256"]
    other = tmp_path_factory.mktemp("other") / "copy"
    shutil.copytree(coco.root, other)
    assert coco.model_copy(update={"root": str(other)}).fingerprint("train") == train


def test_testing_on_training_images_is_refused(coco: Coco) -> None:
    with pytest.raises(InputError, match="expected disjoint splits"):
        coco.model_copy(update={"val": "train"}).splits()


def test_a_missing_annotation_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"instances_train2017\.json"):
        Coco(name="coco", root=str(tmp_path)).splits()


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"name": "imagenet"}, "name"),
        ({"name": "coco"}, "root"),
        ({"name": "shapes", "train_images": 0}, "train_images"),
        ({"name": "shapes", "seed": "0"}, "seed"),
        ({"name": "shapes", "sead": 0}, "sead"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        TypeAdapter(Dataset).validate_python(settings)
