"""A split in KITTI's format: what is trained on, what COCO's measure leaves alone, and which pictures are of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from robustprune.core.errors import InputError
from robustprune.detection.data.classes import by_name
from robustprune.detection.data.description import level_counts
from robustprune.detection.data.kitti.settings import Kitti
from robustprune.detection.data.kitti.split import GREY, KittiSplit
from robustprune.detection.data.samples import Samples
from robustprune.detection.data.subsets import take
from tests.support.kitti_files import CAR, DONT_CARE, PEDESTRIAN, VAN, write_kitti

LINES = (CAR, VAN, PEDESTRIAN, DONT_CARE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_kitti(tmp_path, {"000000": LINES, "000001": [DONT_CARE], "000012": [CAR], "000100": []})


def kitti(root: Path, **settings: Any) -> Kitti:
    return Kitti.model_validate({"name": "kitti", "root": str(root), **settings})


def ids(root: Path, **settings: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    train, val = kitti(root, **settings).splits()
    return train.image_ids, val.image_ids


def listed(root: Path, **splits: str) -> dict[str, str]:
    for name, lines in splits.items():
        (root / f"{name}.txt").write_text(lines)
    return {name: f"{name}.txt" for name in splits}


def whole(root: Path, **settings: Any) -> KittiSplit:
    """Return all but one of the pictures, to train on."""
    return kitti(root, **listed(root, val="000100"), **settings).splits()[0]


def test_cars_are_objects_and_what_is_unclear_is_a_crowd(root: Path) -> None:
    split = whole(root)
    assert split.category_names == ("Car",)
    assert split.images[0].file_name == "000000.png"
    assert (split.images[0].width, split.images[0].height) == (124, 37)
    assert split.boxes(0).tolist() == [[10, 5, 30, 25]]
    assert split.objects.bbox[split.objects.crowds].tolist() == [[32, 5, 20.5, 20], *[[90, 10, 20, 10]] * 2]
    assert [annotation["iscrowd"] for annotation in split.ground_truth.dataset["annotations"]] == [0, 1, 1, 1, 0]
    assert split.labels[0].types == ("Car", "Van", "Pedestrian", "DontCare")


def test_every_class_has_crowds_of_its_own_and_an_id_that_stays(root: Path) -> None:
    split = whole(root, classes=["Pedestrian", "Car"])
    assert (split.category_names, split.category_ids) == (("Car", "Pedestrian"), (1, 2))
    first = split.objects.images == 0
    assert list(zip(split.objects.classes[first].tolist(), split.objects.crowds[first].tolist(), strict=True)) == [
        (0, False),  # the car
        (0, True),  # the van
        (0, True),  # the region
        (1, False),  # the pedestrian
        (1, True),  # the region
    ]
    assert whole(root, classes=["Pedestrian"]).category_ids == (2,)


def test_what_is_unclear_is_grey_in_training_alone(root: Path) -> None:
    hidden, shown = whole(root), whole(root, hide_unclear=False)
    before, after = (np.asarray(split.image(0)).astype(int) for split in (shown, hidden))
    grey = (after == GREY).all(axis=2)
    expected = np.zeros_like(grey)
    expected[5:25, 32:53] = expected[10:20, 90:110] = True
    assert (grey[expected]).all()
    assert (before[~expected] == after[~expected]).all()
    _, val = kitti(root, **listed(root, train="000001\n000012\n000100")).splits()
    assert (np.asarray(val.image(0)) == before).all()
    # A detector sees them so.
    square = Samples(hidden, image_size=(37, 124))[0].image
    assert square[:, 15, 100].tolist() == pytest.approx([GREY / 255] * 3)


def test_an_object_in_a_region_stays_to_be_seen(tmp_path: Path) -> None:
    over = DONT_CARE.replace("90.00 10.00 110.00 20.00", "20.00 0.00 60.00 37.00")
    root = write_kitti(tmp_path, {"000000": [CAR, over], "000100": []})
    grey = (np.asarray(whole(root).image(0)) == GREY).all(axis=2)
    assert grey[:, 30:60].all()
    assert not grey[5:25, 10:30].all(axis=1).any()


def test_levels_stay_with_their_pictures(root: Path) -> None:
    split = whole(root)
    part = take(split, [2])
    assert isinstance(part, KittiSplit)
    assert part.labels[part.image_ids[0]].types == ("Car",)
    ((renamed,), _) = by_name([split], ["person", "car"])
    assert isinstance(renamed, KittiSplit)
    assert renamed.category_names == ("person", "Car")
    assert (np.asarray(renamed.image(0)) == np.asarray(split.image(0))).all()


def test_a_quarter_is_measured_and_the_seed_decides_which(tmp_path: Path) -> None:
    root = write_kitti(tmp_path, {f"{number:06d}": [CAR] for number in range(8)})
    train, val = ids(root)
    assert (len(train), len(val)) == (6, 2)
    assert sorted(train + val) == list(range(8))
    assert len({ids(root, seed=seed) for seed in range(6)}) > 1
    assert len(ids(root, train_part=0.5)[0]) == 4
    first, second = ids(root, train_images=2, val_images=1)
    assert set(first) < set(ids(root, train_images=3)[0]) < set(train)
    assert set(second) < set(val)


def test_files_list_splits(root: Path) -> None:
    assert ids(root, **listed(root, train="000012\n000000\n")) == ((0, 12), (1, 100))
    assert ids(root, **listed(root, val="000001\n\n")) == ((0, 12, 100), (1,))
    assert ids(root, **listed(root, train="000012", val="000001 ")) == ((12,), (1,))


def test_torchvisions_folders_are_found(tmp_path: Path) -> None:
    write_kitti(tmp_path / "Kitti" / "raw", {"000000": [CAR], "000001": [CAR]})
    train, _ = kitti(tmp_path).splits()
    assert train.path(0).is_relative_to(tmp_path / "Kitti" / "raw" / "training")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": "000000\n000009"}, r"train.txt: line 2: found '000009', expected a picture in .*image_2$"),
        ({"train": "000000\n000000"}, r"train.txt: line 2: found '000000', expected it once: it is line 1 too$"),
        ({"train": "\n"}, r"train.txt: found no line, expected the names of pictures, such as 000012, one a line$"),
        (
            {"train": "000000", "val": "000000\n000001"},
            r"^dataset.val: 1 pictures of val.txt are in train.txt too, one is 000000, expected disjoint splits$",
        ),
        (
            {"val": "000000\n000001\n000012\n000100"},
            r"^dataset.train: of the 4 pictures in .* none are left, expected some$",
        ),
    ],
)
def test_what_is_wrong_with_a_list_is_told(root: Path, splits: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kitti(root, **listed(root, **splits)).splits()


def test_what_is_wrong_with_a_folder_is_told(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: found no pictures in training/image_2, expected KITTI's layout"):
        kitti(tmp_path / "nowhere").splits()
    with pytest.raises(
        InputError, match="none.txt: No such file or directory, expected the names of pictures, one a line"
    ):
        kitti(root, train="none.txt").splits()
    with pytest.raises(InputError, match="dataset.val_images is 5, expected at most 1, the pictures of that split"):
        kitti(root, val_images=5).splits()
    pictures = root / "training" / "image_2"
    (pictures / "000012.png").write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"000012.png: found a web page"):
        kitti(root, seed=11).splits()
    (pictures / "12.jpg").touch()
    with pytest.raises(InputError, match=r"12.jpg: found the number 12 again, expected one picture of it: 000012.png"):
        kitti(root, seed=12).splits()
    (pictures / "12.jpg").rename(pictures / "frame 1.png")
    with pytest.raises(InputError, match=r"found the name 'frame 1', expected a number, such as 000012$"):
        kitti(root, seed=13).splits()


def test_labels_of_pictures_of_another_size_are_told(root: Path) -> None:
    Image.new("RGB", (9, 40)).save(root / "training" / "image_2" / "000000.png")
    with pytest.raises(
        InputError,
        match=r"000000.txt: object 1, a Car: found the box \[10.0, 5.0, 30.0, 25.0\], expected one in its .* of 9x40 ",
    ):
        kitti(root, **listed(root, train="000000", val="000001")).splits()


def test_the_first_pictures_of_kitti(kitti_data: Path) -> None:
    splits = kitti(kitti_data, train_part=0.5).splits()
    assert sorted(image_id for split in splits for image_id in split.image_ids) == list(range(16))
    counted = [level_counts(split)[0].of_level for split in splits]
    assert {level: sum(of[level] for of in counted) for level in counted[0]} == {"easy": 11, "moderate": 19, "hard": 21}
    assert sum(int((~split.objects.crowds).sum()) for split in splits) == 35
    assert not any(split.mended[:, 1:].any() for split in splits)


def test_classes_are_kittis_and_named_once(root: Path) -> None:
    assert kitti(root, classes="Cyclist").classes == ("Cyclist",)
    for classes, message in (
        (["Truck"], "Input should be 'Car', 'Pedestrian' or 'Cyclist'"),
        (["Car", "Car"], "found Car, Car, expected each class once"),
        ([], "at least 1"),
        (7, "found 7, expected a list of classes"),
    ):
        with pytest.raises(ValidationError, match=message):
            kitti(root, classes=classes)


def test_the_fingerprint_is_of_what_is_trained_on_or_measured(root: Path) -> None:
    prints = {}
    every: dict[str, dict[str, Any]] = {
        "plain": {},
        "seen": {"hide_unclear": False},
        "both": {"classes": ["Car", "Pedestrian"]},
        "seed": {"seed": 5},
    }
    for name, settings in every.items():
        prints[name] = kitti(root, **listed(root, train="000000\n000012", val="000001"), **settings)
    train = {name: settings.fingerprint("train") for name, settings in prints.items()}
    val = {name: settings.fingerprint("val") for name, settings in prints.items()}
    assert train["plain"] == train["seed"]
    assert len({json.dumps(each) for each in train.values()}) == 3
    assert val["plain"] == val["seen"] == val["seed"] != val["both"]
    label = root / "training" / "label_2" / "000000.txt"
    label.write_text(label.read_text().replace("Car 0.00 0", "Car 0.00 1"))
    occluded = kitti(root, **listed(root, train="000000\n000012", val="000001"), seed=9)
    assert occluded.fingerprint("train") != train["plain"]
    assert occluded.fingerprint("val") == val["plain"]
