"""A draft for a folder in KITTI's format: oblong images, the lists that are there, and anchors for small objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector
from robustprune.studies.detection.study import DetectionStudy
from robustprune.studies.drafts import detection
from robustprune.studies.drafts.detection import CPU
from robustprune.studies.drafts.kitti import KITTI, kitti_draft
from tests.support.kitti_files import CAR, DONT_CARE, write_kitti


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "has_gpu", lambda: False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_kitti(tmp_path / "kitti", {f"{number:06d}": [CAR, DONT_CARE] for number in range(8)})


def test_images_are_as_oblong_as_the_pictures(root: Path) -> None:
    settings, notes, files = kitti_draft(str(root), {}, None)
    DetectionStudy.Settings.model_validate({name: value for name, value in settings.items() if name != "grid"})
    assert DetectionStudy.drafts["kitti"] is KITTI
    assert settings["dataset"] == {"name": "kitti", "root": str(root)}
    width, height = settings["detector"]["image_size"]
    assert width % 16 == height % 16 == 0
    assert 2 <= width / height <= 4
    assert notes["dataset.train"] == "6 images with 6 boxes of 1 classes."
    assert "at most 352 wide without a GPU" in notes["detector.image_size"]
    assert not files


def test_lists_that_are_there_are_taken_and_large_splits_are_drawn_from(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "train.txt").write_text("000000\n000001\n000002\n000003")
    (root / "ImageSets" / "val.txt").write_text("000004\n000005\n000006")
    monkeypatch.setattr(detection, "CPU", CPU._replace(images=3, measured=2))
    settings, notes, _ = kitti_draft(str(root), {}, None)
    dataset = settings["dataset"]
    assert (dataset["train"], dataset["val"]) == ("ImageSets/train.txt", "ImageSets/val.txt")
    assert (dataset["train_images"], dataset["val_images"]) == (3, 2)
    assert notes["dataset.train_images"] == "Of 4: enough for a first curve without a GPU."
    own = kitti_draft(str(root), {"dataset": {"val": "ImageSets/val.txt", "classes": ["Car", "Cyclist"]}}, None)
    assert "train" not in own.settings["dataset"]
    assert own.settings["dataset"]["classes"] == ["Car", "Cyclist"]


def test_anchors_that_do_not_suit_small_objects_are_replaced_in_a_copy(tmp_path: Path) -> None:
    tiny = CAR.replace("10.00 5.00 30.00 25.00", "100.00 50.00 108.00 56.00")
    root = write_kitti(tmp_path / "kitti", {f"{number:06d}": [tiny] for number in range(4)}, size=(800, 240))
    settings, _, files = kitti_draft(str(root), {}, str(tmp_path / "own"))
    assert settings["detector"]["config"] == str(tmp_path / "own.cfg")
    assert settings["detector"]["image_size"] == [352, 96]
    (tmp_path / "own.cfg").write_text(files[".cfg"])
    assert "at 352x96 pixels" in files[".cfg"]
    Detector.from_cfg(str(tmp_path / "own.cfg"), classes=1)


def test_a_folder_without_objects_is_refused(tmp_path: Path) -> None:
    root = write_kitti(tmp_path, {f"{number:06d}": [DONT_CARE] for number in range(4)})
    with pytest.raises(InputError, match="found no box in 3 images, expected some"):
        kitti_draft(str(root), {}, None)
