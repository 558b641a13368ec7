import json
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ks_2samp

from robustprune.core.errors import InputError
from robustprune.core.images import drawing as shapes_drawing
from robustprune.core.images.drawing import CATEGORIES, LUMA, colour, draw
from robustprune.detection.data import shapes
from robustprune.detection.data.coco import load_split
from robustprune.detection.data.shapes import generate
from robustprune.detection.data.subsets import check_disjoint

REC_601 = np.array([0.299, 0.587, 0.114])
ROUNDING = 0.5 / 255


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_same_settings_give_the_same_bytes(shapes_root: Path, tmp_path: Path) -> None:
    again = generate(tmp_path / "again", train_images=24, val_images=12)
    assert contents(again) == contents(shapes_root)
    assert len(contents(again)) == 24 + 12 + 2


def test_another_seed_changes_every_image(shapes_root: Path, tmp_path: Path) -> None:
    other = contents(generate(tmp_path / "other", seed=1, train_images=24, val_images=12))
    assert not set(other.values()) & set(contents(shapes_root).values())


def test_more_images_never_change_earlier_ones(shapes_root: Path, tmp_path: Path) -> None:
    more = contents(generate(tmp_path / "more", train_images=30, val_images=13))
    earlier = {name: data for name, data in contents(shapes_root).items() if name.endswith(".png")}
    assert earlier.items() < more.items()


def test_train_and_val_share_nothing(shapes_root: Path) -> None:
    train, val = load_split(shapes_root, "train"), load_split(shapes_root, "val")
    check_disjoint(train, val)
    images = {split.path(index).read_bytes() for split in (train, val) for index in range(len(split))}
    assert len(images) == 24 + 12


def test_a_finished_folder_is_reused(shapes_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "draw", None)
    assert generate(shapes_root, train_images=24, val_images=12) == shapes_root


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(rng: np.random.Generator, size: int) -> None:
        assert not (tmp_path / "shapes").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(shapes, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "shapes", train_images=2, val_images=1)
    assert list(tmp_path.iterdir()) == []


def test_writers_at_once_agree(tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(lambda _: generate(root, train_images=6, val_images=2), range(4)))
    assert written == [root] * 4
    assert list(tmp_path.iterdir()) == [root]
    assert contents(root) == contents(generate(tmp_path / "alone", train_images=6, val_images=2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_images": 0}, "train_images is 0, expected at least 1"),
        ({"val_images": -1}, "val_images is -1, expected at least 1"),
        ({"image_size": 8}, "image_size is 8, expected at least 32"),
        ({"seed": -1}, "seed is -1, expected at least 0"),
    ],
)
def test_bad_settings(settings: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        generate(tmp_path / "shapes", **settings)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert generate(tmp_path, train_images=1, val_images=1) == tmp_path
    assert len(load_split(tmp_path, "train")) == 1


def test_a_folder_with_other_settings_is_refused(shapes_root: Path) -> None:
    with pytest.raises(InputError, match=r"instances_train\.json: field info is .*'seed': 0.*expected .*'seed': 5"):
        generate(shapes_root, seed=5, train_images=24, val_images=12)


def test_a_folder_of_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(InputError, match="is not a `shapes` data set"):
        generate(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("hue", range(0, 360, 15))
def test_a_colour_has_the_luma_asked_for_inside_the_cube(hue: int) -> None:
    for luma in LUMA:
        rgb = colour(luma, hue)
        assert REC_601 @ rgb == pytest.approx(luma, abs=1e-12)
        assert rgb.min() > 0
        assert rgb.max() < 1


def test_categories_differ_in_hue_but_not_in_luma() -> None:
    luma: dict[str, list[float]] = {category.name: [] for category in CATEGORIES}
    redder: dict[str, list[float]] = {name: [] for name in ("lemon", "lime", "brick", "moss")}
    for index in range(400):
        image, objects = draw(np.random.default_rng(index), 64)
        assert 0 <= image.min() <= image.max() <= 1
        for drawn in objects:
            luma[drawn.category.name].append(drawn.luma)
        nearest = objects[-1]
        if nearest.category.name in redder:
            left, top, width, height = nearest.box
            pixel = np.rint(image[int(top + height / 2), int(left + width / 2)] * 255) / 255
            assert REC_601 @ pixel == pytest.approx(nearest.luma, abs=ROUNDING)
            redder[nearest.category.name].append(bool(pixel[0] > pixel[1]))
    assert all(len(seen) > 20 for seen in redder.values())
    assert all(redder["lemon"] + redder["brick"])
    assert not any(redder["lime"] + redder["moss"])
    for name, values in luma.items():
        assert ks_2samp(values, luma["tent"]).pvalue > 0.01, name


def test_objects_hide_little_of_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[np.ndarray] = []
    place = shapes_drawing._place

    def recorded(*arguments: Any) -> Any:
        mask = place(*arguments)
        placed.append(np.zeros((64, 64)) if mask is None else mask)
        return mask

    monkeypatch.setattr(shapes_drawing, "_place", recorded)
    overlaps = []
    for index in range(100):
        placed.clear()
        draw(np.random.default_rng(index), 64)
        for first, second in combinations([mask for mask in placed if mask.any()], 2):
            overlaps.append(np.minimum(first, second).sum() / min(first.sum(), second.sum()))
    assert 0.2 < max(overlaps) <= 0.3


def test_boxes_are_tight() -> None:
    checked = 0
    for index in range(100):
        image, objects = draw(np.random.default_rng(index), 64)
        nearest = objects[-1]
        if nearest.category.name not in ("lemon", "lime"):
            continue
        checked += 1
        left, top, width, height = nearest.box
        inside = image[int(top + height / 2), int(left + width / 2)]
        rows, columns = np.nonzero(np.abs(image - inside).max(axis=2) < 1e-9)
        covered = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        gap = (covered - [left, top, left + width, top + height]) * [1, 1, -1, -1]
        assert gap.min() >= 0
        assert gap.max() < 2
        assert nearest.area == pytest.approx(len(rows), rel=0.25)
    assert checked > 20


def test_the_files_are_a_detection_task(shapes_root: Path) -> None:
    content = json.loads((shapes_root / "annotations" / "instances_train.json").read_text())
    per_image = {image["id"]: 0 for image in content["images"]}
    for annotation in content["annotations"]:
        per_image[annotation["image_id"]] += 1
        x, y, width, height = annotation["bbox"]
        assert 0 <= x <= x + width <= 64
        assert 0 <= y <= y + height <= 64
        assert 0.1 * 64 < max(width, height) < 0.75 * 64
        assert 0 < annotation["area"] <= width * height * 1.05
    assert set(per_image.values()) <= {1, 2, 3, 4}
    assert {category["id"] for category in content["categories"]} == {1, 2, 3, 5, 8, 13}
    with Image.open(shapes_root / "train" / content["images"][0]["file_name"]) as image:
        assert (image.mode, image.size) == ("RGB", (64, 64))
