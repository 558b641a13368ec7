"""KITTI's average precision against its closed forms."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from robustprune.detection.data.coco import CocoSplit, Objects
from robustprune.detection.data.coco_json import CategoryRecord, ImageRecord
from robustprune.detection.data.kitti.labels import Labels
from robustprune.detection.data.kitti.split import KittiSplit
from robustprune.detection.measure.kitti_ap import (
    COLUMNS,
    LEVEL_COLUMNS,
    KittiOverlaps,
    KittiSettings,
    LevelPrecision,
    ceiling,
    level_columns,
    level_precisions,
    level_table,
)
from robustprune.detection.measure.matching import Detections

R11 = KittiSettings(interpolation=11)
R40 = KittiSettings()

Box = tuple[float, float, float, float]
Thing = tuple[str, Box, float, int]  # type, box, truncated, occluded
Found = tuple[str, Box, float]

CLASSES = ("Car", "Pedestrian")
CAR: Box = (100, 100, 180, 150)


def split_of(*images: Sequence[Thing], pixel: float = 1.0) -> KittiSplit:
    labels = {
        number: Labels(
            tuple(thing[0] for thing in things),
            np.array([thing[2] for thing in things], dtype=np.float64),
            np.array([thing[3] for thing in things], dtype=np.int64),
            np.array([thing[1] for thing in things], dtype=np.float64).reshape(-1, 4),
        )
        for number, things in enumerate(images)
    }
    nothing = Objects(np.zeros(0, int), np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), np.zeros(0, bool))
    return KittiSplit(
        source="made up",
        categories=tuple(CategoryRecord(number, name) for number, name in enumerate(CLASSES, start=1)),
        images=tuple(ImageRecord(number, f"{number:06d}.png", 1242, 375) for number in labels),
        folders=(),
        objects=nothing,
        mended=np.zeros((len(images), 3), dtype=np.int64),
        labels=labels,
        pixel=pixel,
    )


def detections(*images: Sequence[Found]) -> list[Detections]:
    return [
        Detections(
            number,
            torch.tensor([found[1] for found in of_image], dtype=torch.float64).reshape(-1, 4),
            torch.tensor([found[2] for found in of_image], dtype=torch.float64),
            torch.tensor([CLASSES.index(found[0]) for found in of_image], dtype=torch.int64),
        )
        for number, of_image in enumerate(images)
    ]


def thing(box: Box = CAR, *, type_: str = "Car", truncated: float = 0, occluded: int = 0) -> Thing:
    return type_, box, truncated, occluded


def moved(box: Box, *, right: float = 0, down: float = 0) -> Box:
    return box[0] + right, box[1] + down, box[2] + right, box[3] + down


def ap(
    images: Sequence[Sequence[Thing]],
    found: Sequence[Sequence[Found]],
    *,
    level: str = "easy",
    class_: int = 0,
    settings: KittiSettings = R40,
    pixel: float = 1.0,
) -> float:
    """Return AP in per cent; 0 objects that count give NaN."""
    lines = level_precisions(split_of(*images, pixel=pixel), detections(*found), settings)
    return next((100 * line.ap for line in lines if (line.level, line.class_) == (level, class_)), math.nan)


def cars(count: int) -> list[list[Thing]]:
    return [[thing()]] * count


def scores(count: int) -> list[float]:
    return [1 - number / (2 * count) for number in range(count)]


def all_found(count: int) -> list[list[Found]]:
    return [[("Car", CAR, score)] for score in scores(count)]


@pytest.mark.parametrize(
    ("count", "r40", "r11"),
    [
        (1, 0, 9.09),
        (2, 2.5, 9.09),
        (5, 10, 18.18),
        (10, 22.5, 27.27),
        (20, 47.5, 45.45),
        (40, 97.5, 90.91),
        (41, 100, 100),
        (100, 100, 100),
    ],
)
def test_few_objects_bound_a_perfect_detector(count: int, r40: float, r11: float) -> None:
    assert ap(cars(count), all_found(count)) == pytest.approx(r40)
    assert ap(cars(count), all_found(count), settings=R11) == pytest.approx(r11, abs=0.01)


def test_the_ceiling_is_what_a_perfect_detector_has() -> None:
    for count in (1, 2, 3, 7, 11, 19, 21, 39, 40, 41, 42, 60, 97):
        reached = min(count, 41)
        assert 100 * ceiling(count, 40) == pytest.approx(ap(cars(count), all_found(count)))
        assert ceiling(count, 40) == pytest.approx((reached - 1) / 40)
        assert 100 * ceiling(count, 11) == pytest.approx(ap(cars(count), all_found(count), settings=R11))
        assert ceiling(count, 11) == pytest.approx(math.ceil(reached / 4) / 11)


def test_ceilings_of_the_first_images_of_kitti() -> None:
    """Which have 11, 19 and 21 cars that count."""
    assert [round(100 * ceiling(count, 40), 1) for count in (11, 19, 21)] == [25, 45, 50]
    assert [round(100 * ceiling(count, 11), 1) for count in (11, 19, 21)] == [27.3, 45.5, 54.5]


def test_half_of_the_objects_are_half_of_the_precision() -> None:
    found = [of_image if number % 2 else [] for number, of_image in enumerate(all_found(100))]
    assert ap(cars(100), found) == pytest.approx(50)
    assert ap(cars(100), found, settings=R11) == pytest.approx(54.55, abs=0.01)


ELSEWHERE = moved(CAR, right=500)


@pytest.mark.parametrize(
    ("others", "second", "expected"),
    [
        ([], ELSEWHERE, 50),
        ([thing(ELSEWHERE, type_="DontCare", truncated=-1, occluded=-1)], ELSEWHERE, 100),
        ([thing(ELSEWHERE, type_="Van")], ELSEWHERE, 100),
        ([thing(ELSEWHERE, type_="Truck")], ELSEWHERE, 50),
        ([thing(ELSEWHERE, occluded=3)], ELSEWHERE, 100),
        # More than .7 of the detection is inside, though the two have next to nothing in common by IoU.
        ([thing((0, 0, 1242, 375), type_="DontCare", truncated=-1, occluded=-1)], ELSEWHERE, 100),
        ([thing(moved(ELSEWHERE, right=40), type_="DontCare", truncated=-1, occluded=-1)], ELSEWHERE, 50),
        # Too low to count, for its level.
        ([], (600, 100, 680, 139.9), 100),
    ],
    ids=[
        "alone",
        "in a region",
        "on a van",
        "on a truck",
        "on what is too hard",
        "in a large region",
        "half in",
        "low",
    ],
)
def test_a_false_alarm_beside_each_object_halves_precision_unless_it_may_be(
    others: list[Thing], second: Box, expected: float
) -> None:
    images = [[thing(), *others]] * 100
    found = [[*of_image, ("Car", second, 1.5)] for of_image in all_found(100)]
    assert ap(images, found) == pytest.approx(expected)


def test_of_two_detections_of_an_object_one_that_is_less_sure_than_all_hits_never_counts() -> None:
    found = [[*of_image, ("Car", moved(CAR, right=1), 0.1)] for of_image in all_found(100)]
    assert ap(cars(100), found) == pytest.approx(100)


def test_the_surest_is_taken_where_thresholds_are_sought_and_then_the_nearest() -> None:
    """A loose box that is surer sets the threshold, and the tight one below it never counts; one as sure is the hit."""
    tight, loose = CAR, moved(CAR, right=10)
    found: list[list[Found]] = [[("Car", loose, 0.9), ("Car", tight, 0.5)]] * 50
    assert ap(cars(50), found) == pytest.approx(100)
    both: list[list[Found]] = [[("Car", loose, 0.9), ("Car", tight, 0.9)]] * 50
    assert ap(cars(50), both) == pytest.approx(50)


def test_overlap_has_to_exceed_the_least() -> None:
    """Of boxes of 80 pixels that are x apart, IoU is (80 − x) / (80 + x): .6 at 20 and .7 just above 14.1."""
    for right, expected in ((14.1, 100), (14.2, 0)):
        found: list[list[Found]] = [[("Car", moved(CAR, right=right), score)] for score in scores(50)]
        assert ap(cars(50), found) == expected
    at_20: list[list[Found]] = [[("Car", moved(CAR, right=20), score)] for score in scores(50)]
    assert ap(cars(50), at_20, settings=KittiSettings(iou=KittiOverlaps(car=0.6))) == 0, "as much is not more"
    assert ap(cars(50), at_20, settings=KittiSettings(iou=KittiOverlaps(car=0.59))) == 100


@pytest.mark.parametrize(
    ("height", "easy", "moderate"), [(40.1, 100, 100), (40, math.nan, 100), (25, math.nan, math.nan)]
)
def test_objects_count_that_are_higher_than_the_least(height: float, easy: float, moderate: float) -> None:
    box = (100.0, 100.0, 180.0, 100 + height)
    for pixel, scaled in ((1.0, box), (2.0, (50.0, 50.0, 90.0, 50 + height / 2))):
        images, found = [[thing(scaled)]] * 50, [[("Car", scaled, score)] for score in scores(50)]
        assert ap(images, found, pixel=pixel) == pytest.approx(easy, nan_ok=True)
        for level in ("moderate", "hard"):
            assert ap(images, found, level=level, pixel=pixel) == pytest.approx(moderate, nan_ok=True)


def test_a_class_is_found_by_its_own_detections_alone() -> None:
    walker: Box = (300, 100, 330, 180)
    images = [[thing(), thing(walker, type_="Pedestrian")]] * 50
    found: list[list[Found]] = [[("Car", CAR, score), ("Car", walker, 2 - score)] for score in scores(50)]
    assert ap(images, found, class_=1) == 0
    assert ap(images, found) == pytest.approx(50)
    shifted: list[list[Found]] = [[("Pedestrian", moved(walker, right=9), score)] for score in scores(50)]
    assert ap(images, shifted, class_=1) == pytest.approx(100), "an IoU of .54 is enough for pedestrians"


def test_images_of_which_nothing_is_told_have_no_detections() -> None:
    split = split_of(*cars(82))
    lines = level_precisions(split, detections(*all_found(82)[:41]), R40)
    assert [100 * line.ap for line in lines] == pytest.approx([50] * 3)


def test_what_has_no_levels_has_no_such_precision() -> None:
    split = split_of([thing()])
    plain = CocoSplit(split.source, split.categories, split.images, (), split.objects, split.mended)
    assert level_precisions(plain, detections([("Car", CAR, 1.0)]), R40) == []
    assert level_columns([], []) == dict.fromkeys(LEVEL_COLUMNS)
    assert level_table(plain, [], []) is None


def test_columns_are_means_over_classes_that_have_objects() -> None:
    clean = [LevelPrecision("easy", 0, 11, 0.2, 0.25), LevelPrecision("easy", 1, 41, 0.6, 1.0)]
    attacked = [line._replace(ap=line.ap / 2) for line in clean]
    found = level_columns(clean, attacked)
    assert (found["ap_easy_clean"], found["ap_easy_adv"], found["ap_easy_ceiling"]) == pytest.approx((0.4, 0.2, 0.625))
    assert found["ap_hard_clean"] is None
    table = level_table(split_of([thing()]), clean, attacked)
    assert table is not None
    assert [*table] == [*COLUMNS]
    assert table["attacked"].tolist() == [False, False, True, True]
    assert table["category"].tolist() == ["Car", "Pedestrian"] * 2
    assert table["ap"].tolist() == [0.2, 0.6, 0.1, 0.3]
