"""The data sets by name: what their splits hold, and what counts as the same data."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from robustprune.classification.data.datasets import Cifar10, Dataset, Emblems, Folders
from robustprune.core.errors import InputError
from tests.robustprune.staging.fake_store import URI, FakeStore


def emblems(**settings: Any) -> Emblems:
    return Emblems(**{"name": "emblems", "train_images": 12, "test_images": 8, **settings})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of 2 classes, 6 training and 4 test images of each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 4)):
        for name in ("cat", "dog"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "images"


def folders(root: Path, **settings: Any) -> Folders:
    return Folders(name="folders", root=str(root), **settings)


def test_emblems_have_the_numbers_asked_for() -> None:
    dataset = emblems(image_size=16)
    assert [len(dataset.load(split)) for split in ("train", "test")] == [12, 8]
    assert dataset.load("train").pixels.shape[2:] == (16, 16)
    assert dataset.load("train").classes == dataset.classes


def test_the_fingerprint_of_emblems_is_what_determines_a_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustprune.classification.data.emblems.generate", None)
    train, test = (emblems().fingerprint(split) for split in ("train", "test"))
    assert train != test
    assert emblems(test_images=9).fingerprint("train") == train
    assert emblems(train_images=13).fingerprint("test") == test
    for other in ({"seed": 1}, {"train_images": 13}, {"image_size": 48}):
        assert emblems(**other).fingerprint("train") != train
    monkeypatch.setattr("robustprune.classification.data.emblems.VERSION", 0)
    assert emblems().fingerprint("train") != train
    json.dumps(train)


def test_folders_are_read_at_the_size_asked_for(root: Path) -> None:
    dataset = folders(root, image_size=16)
    assert dataset.load("train").pixels.shape == (12, 3, 16, 16)
    assert len(dataset.load("test")) == 8
    assert dataset.load("train").classes == dataset.classes == ("cat", "dog")
    assert dataset.load("train") is dataset.load("train")


def test_splits_go_by_any_name(root: Path) -> None:
    swapped = folders(root, train="test", test="train")
    assert torch.equal(swapped.load("train").pixels, folders(root).load("test").pixels)


def test_a_balanced_part_is_drawn(root: Path) -> None:
    part = folders(root, train_images=6, test_images=2)
    assert part.load("train").labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert part.load("test").labels.tolist() == [0, 1]
    others = {part.model_copy(update={"seed": seed}).fingerprint("train")["sha256"] for seed in range(10)}
    assert len(others) > 5
    with pytest.raises(
        InputError, match="dataset.train_images is 13, which takes 7 images of class 'cat', expected at"
    ):
        folders(root, train_images=13).load("train")


def test_the_fingerprint_of_folders_is_of_the_images_used(root: Path, tmp_path: Path) -> None:
    dataset = folders(root)
    train, test = (dataset.fingerprint(split) for split in ("train", "test"))
    assert train["sha256"] != test["sha256"]
    json.dumps(train)

    shutil.copytree(root, tmp_path / "copy")
    shutil.make_archive(str(tmp_path / "zipped"), "zip", root)
    for elsewhere in (tmp_path / "copy", tmp_path / "zipped.zip"):
        assert folders(elsewhere).fingerprint("train") == train
    # Another way to say the same, and parts.
    assert folders(root, train_images=12, seed=9).fingerprint("train") == train
    assert folders(root, train_images=10).fingerprint("train") != train
    assert folders(root, train_images=10).fingerprint("test") == test
    assert folders(root, image_size=16).fingerprint("train") != train

    for split in ("train", "test"):
        (tmp_path / "copy" / split / "dog").rename(tmp_path / "copy" / split / "wolf")
    renamed = Path(shutil.move(tmp_path / "copy", tmp_path / "renamed"))
    assert folders(renamed).fingerprint("train") != train


@pytest.mark.parametrize("split", ["train", "test"])
def test_neither_split_is_read_where_classes_differ(root: Path, split: Any) -> None:
    (root / "test" / "dog").rename(root / "test" / "wolf")
    with pytest.raises(InputError, match="found the class 'dog' in train and not in test"):
        folders(root).load(split)


def test_a_single_class_is_refused(root: Path) -> None:
    for split in ("train", "test"):
        shutil.rmtree(root / split / "dog")
    with pytest.raises(InputError, match="images: found one class, 'cat', expected at least two"):
        folders(root).load("train")


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"name": "imagenet"}, "name"),
        ({"name": "cifar10"}, "root"),
        ({"name": "cifar10", "root": ".", "image_size": 64}, "image_size"),
        ({"name": "cifar10", "root": ".", "train_images": 0}, "train_images"),
        ({"name": "folders"}, "root"),
        ({"name": "folders", "root": ".", "test": "train"}, "test\n.*expected another split than the one to train on"),
        ({"name": "folders", "root": ".", "test": "./train/"}, "test\n.*expected another split"),
        ({"name": "folders", "root": ".", "test": "a/../train"}, "test\n.*expected a folder or zip file below root"),
        ({"name": "folders", "root": ".", "train": "/train"}, "train\n.*expected a folder or zip file below root"),
        ({"name": "folders", "root": ".", "image_size": 200_000}, "image_size\n.*less than or equal to 4096"),
        ({"name": "emblems", "train_images": 5}, "train_images"),
        ({"name": "emblems", "image_size": 8}, "image_size"),
        ({"name": "emblems", "image_size": 200_000}, "image_size\n.*less than or equal to 4096"),
        ({"name": "emblems", "seed": "0"}, "seed"),
        ({"name": "emblems", "sead": 0}, "sead"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        TypeAdapter(Dataset).validate_python(settings)


def test_real_images_are_read_from_their_zip_files(cifar10_data: Path) -> None:
    dataset = Folders(name="folders", root=str(cifar10_data), train_images=100)
    assert dataset.load("train").labels.bincount().tolist() == [10] * 10
    assert dataset.load("test").labels.bincount().tolist() == [60] * 10
    assert dataset.classes[:3] == ("airplane", "automobile", "bird")


@pytest.mark.parametrize("packed", [False, True])
def test_folders_may_be_in_a_bucket(bucket: FakeStore, root: Path, packed: bool) -> None:
    here, place = folders(root, image_size=16), bucket.place / f"packed {packed}"
    if packed:
        for split in ("train", "test"):
            shutil.make_archive(str(place / split), "zip", root, split)
    else:
        shutil.copytree(root, place)
    (place / "README").write_text("neither of the splits, which alone are copied")
    there = Folders(name="folders", root=f"{URI}/{place.name}", image_size=16)
    assert there.classes == here.classes
    for split in ("train", "test"):
        assert there.fingerprint(split) == here.fingerprint(split)  # type: ignore[arg-type]
    assert {name.split("/")[1] for name in bucket.read} == {f"{split}{'.zip' * packed}" for split in ("test", "train")}


def test_a_bucket_without_the_splits_is_told(bucket: FakeStore) -> None:
    with pytest.raises(InputError) as error:
        Folders(name="folders", root=f"{URI}/val").load("train")
    expected = "found b 0.png, c.png, expected train or train.zip or test or test.zip"
    assert str(error.value) == f"dataset.root: {URI}/val: {expected}"
    with pytest.raises(InputError, match=rf"^dataset.root: {URI}: found a.txt, val, expected cifar-10-batches-py$"):
        Cifar10(name="cifar10", root=URI).load("train")
