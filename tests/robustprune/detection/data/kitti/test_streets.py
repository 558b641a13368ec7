"""Streets are drawn in KITTI's format, the same from a seed, and their three levels are of different objects."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from robustprune.core.errors import InputError
from robustprune.detection.data.kitti import scenes, streets
from robustprune.detection.data.kitti.levels import COUNTS, LEVELS, standing
from robustprune.detection.data.kitti.scenes import CAR, Camera, Seen, Standing, draw
from robustprune.detection.data.kitti.settings import Kitti, Streets
from robustprune.detection.data.kitti.split import KittiSplit
from robustprune.detection.data.kitti.streets import KITTI_WIDTH, generate


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def drawn(**settings: Any) -> Streets:
    return Streets.model_validate({"name": "streets", "train_images": 3, "val_images": 2, **settings})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("data") / "streets", train_images=30, val_images=10)


@pytest.fixture(scope="module")
def train(root: Path) -> KittiSplit:
    return drawn(root=str(root), train_images=30, val_images=10).splits()[0]


def test_same_settings_give_the_same_bytes_and_more_pictures_change_none(root: Path, tmp_path: Path) -> None:
    again = contents(generate(tmp_path / "again", train_images=4, val_images=2))
    assert len(again) == 2 * (4 + 2) + 3
    assert {name: data for name, data in again.items() if name.startswith("training/")}.items() < contents(root).items()
    other = contents(generate(tmp_path / "other", seed=1, train_images=4, val_images=2))
    assert not {data for name, data in again.items() if "image_2" in name} & {*other.values()}


def test_a_finished_folder_is_reused_and_another_left_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streets, "draw", None)
    assert generate(root, train_images=30, val_images=10) == root
    with pytest.raises(
        InputError, match=r"streets.json: found .*'width': 192.*, expected .*'width': 96.*; name another"
    ):
        generate(root, train_images=30, val_images=10, width=96)
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="is not a `streets` data set"):
        drawn(root=str(tmp_path)).splits()


def test_they_are_read_as_kitti_is(root: Path, train: KittiSplit) -> None:
    files = {"train": "ImageSets/train.txt", "val": "ImageSets/val.txt"}
    read, val = Kitti.model_validate({"name": "kitti", "root": str(root), **files}).splits()
    assert read.image_ids == train.image_ids == tuple(range(0, 60, 2))
    assert val.image_ids == tuple(range(1, 20, 2))
    assert (read.images[0].width, read.images[0].height) == (192, 64)
    assert read.pixel == train.pixel == KITTI_WIDTH / 192


def test_levels_are_of_different_objects(train: KittiSplit) -> None:
    easy, moderate, hard = (
        sum(int((standing(of, "Car", level, pixel=train.pixel) == COUNTS).sum()) for of in train.labels.values())
        for level in LEVELS
    )
    assert easy > 41
    assert moderate > 1.3 * easy
    assert hard > 1.05 * moderate
    types = {type_ for labels in train.labels.values() for type_ in labels.types}
    assert types == {"Car", "Van", "Pedestrian", "Cyclist", "DontCare"}
    occluded = np.concatenate([labels.occluded[labels.of_type("Car")] for labels in train.labels.values()])
    assert min(np.bincount(occluded, minlength=4)) > 5
    truncated = np.concatenate([labels.truncated for labels in train.labels.values()])
    assert truncated.max() > 0.5


def test_boxes_lie_in_the_picture(train: KittiSplit) -> None:
    boxes = np.concatenate([labels.boxes for labels in train.labels.values()])
    assert boxes.min() >= 0
    assert (boxes <= [192, 64, 192, 64]).all()
    assert not train.mended.any()


def seen(*standing: Standing) -> list[Seen | None]:
    """Return what is to be said of objects, the nearest first."""
    free = np.ones((64, 192))
    return [scenes._seen(Camera(192, 64), each, free) for each in standing]


def car(x: float, z: float) -> Standing:
    return Standing(CAR, x, z, height=1.5, width=1.7, length=4.0, across=False)


def test_the_camera_is_kittis_in_small() -> None:
    """At 721 pixels of focal length, as KITTI's, a car of 1.5 m is 40 pixels high 27 m ahead."""
    (of,) = seen(car(0, 27.0))
    assert of is not None
    left, top, right, bottom = of.box
    assert (bottom - top) * KITTI_WIDTH / 192 == pytest.approx(721 * 1.5 / 27, rel=0.01)
    assert (left + right) / 2 == pytest.approx(96)
    assert (right - left) / (bottom - top) == pytest.approx(1.7 / 1.5)
    assert (of.truncated, of.occluded, of.is_labelled) == (0, 0, True)


def test_what_is_nearer_occludes() -> None:
    for aside, occluded in ((2.0, 0), (1.5, 1), (1.0, 2), (0.0, 3)):
        near, far = seen(car(aside / 2, 10), car(0, 20))
        assert near is not None
        assert far is not None
        assert (near.occluded, far.occluded) == (0, occluded), aside


def test_what_is_cut_off_is_truncated() -> None:
    """The right edge of the picture is 1/1.16 of the distance to the right of the camera."""
    (half, gone, far) = seen(car(10 / 1.16, 10), car(13, 10), car(0, 60))
    assert half is not None
    assert far is not None
    assert half.truncated == pytest.approx(0.5)
    assert half.box[2] == 192
    assert gone is None
    assert not far.is_labelled


def test_a_scene_is_a_picture_with_the_nearest_first() -> None:
    pixels, found = draw(np.random.default_rng(0), 192, 64)
    assert pixels.shape == (64, 192, 3)
    assert 0 <= pixels.min() < pixels.max() <= 1
    assert [each.standing.z for each in found] == sorted(each.standing.z for each in found)


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    split, _ = drawn().splits()
    assert split.path(0).is_relative_to(tmp_path / "robustprune")
    before = drawn().fingerprint("train")
    assert drawn(val_images=5, root="elsewhere").fingerprint("train") == before
    assert drawn(hide_unclear=False).fingerprint("train") != before
    assert drawn(hide_unclear=False).fingerprint("val") == drawn(train_images=9).fingerprint("val")
    for other in ({"seed": 1}, {"width": 96}, {"classes": ["Pedestrian"]}, {"train_images": 4}):
        assert drawn(**other).fingerprint("train") != before
    with pytest.raises(ValidationError):
        drawn(width=60)
    with pytest.raises(InputError, match=r"^dataset.root: found s3://bucket, expected a folder of this machine"):
        drawn(root="s3://bucket").splits()
