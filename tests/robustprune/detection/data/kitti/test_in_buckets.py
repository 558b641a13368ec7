"""KITTI in a bucket is the same as in a folder, and no more of it is copied than is used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from robustprune.core.errors import InputError
from robustprune.detection.data.kitti import settings
from robustprune.detection.data.kitti.settings import Kitti
from tests.robustprune.staging.fake_store import URI, FakeStore
from tests.support.kitti_files import CAR, DONT_CARE, write_kitti


@pytest.fixture
def root(bucket: FakeStore, tmp_path: Path) -> Path:
    settings._loaded.cache_clear()
    root = write_kitti(tmp_path / "kitti", {f"{number:06d}": [CAR, DONT_CARE] for number in range(5)})
    (root / "val.txt").write_text("000003\n")
    shutil.copytree(root, bucket.place, dirs_exist_ok=True)
    return root


def kitti(root: str | Path) -> Kitti:
    return Kitti.model_validate({"name": "kitti", "root": str(root), "val": "val.txt", "train_images": 2})


def test_a_data_set_has_the_fingerprint_of_its_files(root: Path, bucket: FakeStore) -> None:
    here, there = kitti(root), kitti(URI)
    for split in ("train", "val"):
        assert there.fingerprint(split) == here.fingerprint(split)
    train, val = there.splits()
    assert val.source == f"{URI} (val)"
    used = {f"{image_id:06d}" for image_id in (*train.image_ids, *val.image_ids)}
    files = {f"training/{name}" for stem in used for name in (f"image_2/{stem}.png", f"label_2/{stem}.txt")}
    assert {*bucket.read} == files | {"val.txt"}


def test_complaints_name_the_bucket(root: Path, bucket: FakeStore) -> None:
    (bucket.place / "training" / "label_2" / "000003.txt").write_text("Car")
    with pytest.raises(InputError, match=f"^{URI}/training/label_2/000003.txt: line 1: found 1 fields"):
        kitti(URI).splits()
