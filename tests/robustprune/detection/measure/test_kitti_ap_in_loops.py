"""KITTI's average precision is what its procedure gives when it is written down step by step, on scenes of all sorts.

The procedure here follows the rules of the development kit one by one and shares no code with ours: every object and
every detection has a state, one pass collects the scores of hits, and one pass per threshold counts.
"""

from __future__ import annotations

import numpy as np
import pytest

from robustprune.detection.measure.kitti_ap import KittiSettings, level_precisions
from tests.robustprune.detection.measure.test_kitti_ap import CLASSES, Box, Found, Thing, detections, split_of

LIMITS = {"easy": (40, 0, 0.15), "moderate": (25, 1, 0.3), "hard": (25, 2, 0.5)}
OVERLAP = {"Car": 0.7, "Pedestrian": 0.5}
ALIKE = {"Car": "Van", "Pedestrian": "Person_sitting"}

State = tuple[list[int], list[int]]


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def shared(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def iou(one: Box, other: Box) -> float:
    return shared(one, other) / (area(one) + area(other) - shared(one, other))


def states(things: list[Thing], found: list[Found], class_: str, level: str) -> State:
    """Return 0 of what counts, 1 of what is ignored, −1 of what is something else: of objects, and of detections."""
    least, most_occluded, most_truncated = LIMITS[level]
    of_things = []
    for type_, box, truncated, occluded in things:
        hard = occluded > most_occluded or truncated > most_truncated or box[3] - box[1] <= least
        of_things.append((1 if hard else 0) if type_ == class_ else 1 if type_ == ALIKE[class_] else -1)
    of_found = []
    for type_, box, _ in found:
        of_found.append(1 if box[3] - box[1] < least else 0 if type_ == class_ else -1)
    return of_things, of_found


def scores_of_hits(things: list[Thing], found: list[Found], state: State, overlap: float) -> list[float]:
    hits, taken = [], set()
    for thing, of_thing in zip(things, state[0], strict=True):
        if of_thing == -1:
            continue
        best = None
        for number, (_, box, score) in enumerate(found):
            if state[1][number] == -1 or number in taken or iou(thing[1], box) <= overlap:
                continue
            if best is None or score > found[best][2]:
                best = number
        if best is not None:
            taken.add(best)
            if of_thing == 0 and state[1][best] == 0:
                hits.append(found[best][2])
    return hits


def count(things: list[Thing], found: list[Found], state: State, overlap: float, least: float) -> tuple[int, int]:
    """Return right and wrong detections among those that score at least so much."""
    right, taken = 0, set()
    for thing, of_thing in zip(things, state[0], strict=True):
        if of_thing == -1:
            continue
        best, largest, is_ignored = None, overlap, False
        for number, (_, box, score) in enumerate(found):
            if state[1][number] == -1 or number in taken or score < least:
                continue
            covered = iou(thing[1], box)
            if state[1][number] == 0 and covered > overlap and (covered > largest or is_ignored):
                best, largest, is_ignored = number, covered, False
            elif state[1][number] == 1 and covered > overlap and best is None:
                best, is_ignored = number, True
        if best is not None:
            taken.add(best)
            right += of_thing == 0 and state[1][best] == 0
    wrong = 0
    for number, (_, box, score) in enumerate(found):
        if state[1][number] != 0 or number in taken or score < least:
            continue
        regions = [thing[1] for thing in things if thing[0] == "DontCare"]
        wrong += not any(shared(box, region) / area(box) > overlap for region in regions)
    return right, wrong


def by_the_rules(images: list[list[Thing]], found: list[list[Found]], class_: str, level: str) -> float | None:
    """Return AP at 40 recalls; None where nothing counts."""
    both = list(zip(images, found, strict=True))
    of_images = [states(*pair, class_, level) for pair in both]
    objects = sum(state[0].count(0) for state in of_images)
    if not objects:
        return None
    hits = []
    for (things, of_image), state in zip(both, of_images, strict=True):
        hits += scores_of_hits(things, of_image, state, OVERLAP[class_])
    hits.sort(reverse=True)
    thresholds, recall = [], 0.0
    for number, score in enumerate(hits):
        left, right = (number + 1) / objects, (number + 2) / objects
        if number < len(hits) - 1 and right - recall < recall - left:
            continue
        thresholds.append(score)
        recall += 1 / 40
    precisions = [0.0] * 41
    for place, least in enumerate(thresholds):
        counted = [count(*pair, state, OVERLAP[class_], least) for pair, state in zip(both, of_images, strict=True)]
        right, wrong = (sum(column) for column in zip(*counted, strict=True))
        precisions[place] = right / (right + wrong)
    best = [max(precisions[place:]) for place in range(41)]
    return sum(best[1:]) / 40


def scene(numbers: np.random.Generator) -> tuple[list[Thing], list[Found]]:
    """Return objects of all types, near and far, and detections near these, doubled, of other classes or of nothing."""
    things: list[Thing] = []
    found: list[Found] = []
    for _ in range(numbers.integers(0, 7)):
        left, top = numbers.uniform(0, 150, 2)
        width, height = numbers.choice([12, 24.9, 25, 25.1, 39.9, 40, 40.1, 70], 2)
        box: Box = (float(left), float(top), float(left + width), float(top + height))
        type_ = str(numbers.choice(["Car", "Car", "Car", "Van", "Pedestrian", "Person_sitting", "Truck", "DontCare"]))
        things.append((type_, box, float(numbers.choice([0, 0, 0.2, 0.4, 0.6])), int(numbers.integers(0, 4))))
        for _ in range(numbers.integers(0, 3)):
            moved = np.array(box) + numbers.normal(0, 2, 4)
            moved[2:] = np.maximum(moved[2:], moved[:2] + 1)
            name = type_ if type_ in CLASSES else str(numbers.choice(CLASSES))
            at: Box = tuple(moved.tolist())
            found.append((name, at, float(numbers.choice([0.2, 0.5, numbers.uniform()]))))
    return things, found


@pytest.mark.parametrize("seed", range(12))
def test_all_scenes_have_the_precision_of_the_rules(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    images, found = (list(each) for each in zip(*(scene(numbers) for _ in range(10 + 10 * seed)), strict=True))
    lines = level_precisions(split_of(*images), detections(*found), KittiSettings())
    ours = {(CLASSES[line.class_], line.level): line.ap for line in lines}
    rules = {(name, level): by_the_rules(images, found, name, level) for name in CLASSES for level in LIMITS}
    assert ours == pytest.approx({key: value for key, value in rules.items() if value is not None}, abs=1e-12)
    assert seed == 0 or len({*ours.values()}) > 2, "the scenes tell nothing apart"
