"""A data set in a bucket is the same as in a folder, and no more of it is copied than is used."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from robustprune.core.errors import InputError
from robustprune.detection import darknet
from robustprune.detection.darknet import cfg
from robustprune.detection.data import datasets
from robustprune.detection.data.classes import read_names
from robustprune.detection.data.datasets import Coco, Shapes
from tests.robustprune.detection.data.test_layouts import write
from tests.robustprune.staging.fake_store import URI, FakeStore


def coco(root: str | Path, **settings: Any) -> Coco:
    return Coco.model_validate({"name": "coco", "root": str(root), "train": "train", "val": "val", **settings})


@pytest.fixture(autouse=True)
def _new_process() -> None:
    datasets._drawn.cache_clear()


@pytest.fixture
def shapes(bucket: FakeStore, shapes_root: Path) -> FakeStore:
    shutil.copytree(shapes_root, bucket.place, dirs_exist_ok=True)
    return bucket


def test_a_data_set_has_the_fingerprint_of_its_files(shapes: FakeStore, shapes_root: Path) -> None:
    here, there = coco(shapes_root), coco(URI)
    for split in ("train", "val"):
        assert there.fingerprint(split) == here.fingerprint(split)
    train, val = there.splits()
    assert train.image(0).tobytes() == here.splits()[0].image(0).tobytes()
    assert val.source == f"{URI}/annotations/instances_val.json"


def test_only_the_pictures_that_are_drawn_are_copied(shapes: FakeStore) -> None:
    drawn = coco(URI, train_images=5, val_images=2).splits()
    names = [
        f"{folder}/{image.file_name}"
        for folder, split in zip(("train", "val"), drawn, strict=True)
        for image in split.images
    ]
    assert sorted(shapes.read) == sorted([*names, "annotations/instances_train.json", "annotations/instances_val.json"])


@pytest.mark.parametrize(
    ("annotations", "folder", "given"),
    [
        ("annotations/instances_{}.json", "images/{}", {}),
        ("{}/_annotations.coco.json", "{}", {}),
        ("{}.json", "images", {}),
        (
            "labels/{}.json",
            "pictures {}/all",
            {
                "annotations": {"train": "labels/train.json", "val": f"{URI}/labels/val.json"},
                "images": {"train": "pictures train/all", "val": f"{URI}/pictures val/all"},
            },
        ),
    ],
)
def test_layouts_are_found_in_a_bucket(bucket: FakeStore, annotations: str, folder: str, given: dict[str, Any]) -> None:
    for split in ("train", "val"):
        write(bucket.place, annotations.format(split), folder.format(split), (f"{split} 0.png", f"sub/{split}.png"))
    for found in coco(URI, **given).splits():
        assert [found.image(index).size for index in range(len(found))] == [(8, 8), (8, 8)]


def test_what_is_missing_in_a_bucket_is_told_before_pictures_are_copied(shapes: FakeStore) -> None:
    with pytest.raises(InputError) as error:
        coco(URI, val="test").splits()
    assert str(error.value).startswith(f"{URI}/annotations/instances_test.json: No such file or directory, expected a ")
    assert str(error.value).endswith(
        f"; found annotations/instances_train.json, annotations/instances_val.json in {URI}"
    )
    (shapes.place / "val/val_000000.png").unlink()
    with pytest.raises(
        InputError,
        match=rf"^{URI}/annotations/instances_val.json: field images.0..file_name is .*, "
        rf"expected a file in {URI}/val$",
    ):
        coco(f"{URI}/", val_images=1).splits()
    assert not [name for name in shapes.read if name.endswith(".png")]


def test_shapes_are_generated_here() -> None:
    with pytest.raises(InputError, match=rf"^dataset.root: found {URI}, expected a folder of this machine"):
        Shapes(name="shapes", root=URI).splits()


def test_a_detectors_files_may_be_in_a_bucket(bucket: FakeStore, nano: darknet.Detector, tmp_path: Path) -> None:
    bucket.put("nano.cfg", cfg.bundled()["yolov3-nano"].encode())
    bucket.put("x.names", b"red\ngreen\n")
    assert cfg.read(f"{URI}/nano.cfg") == cfg.parse(cfg.bundled()["yolov3-nano"], f"{URI}/nano.cfg")
    assert read_names(f"{URI}/x.names", "detector.names") == ("red", "green")
    with pytest.raises(InputError, match=rf"^detector.names: {URI}/y.names: found nothing there"):
        read_names(f"{URI}/y.names", "detector.names")
