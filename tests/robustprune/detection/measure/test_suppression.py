"""Which boxes are left, against the loops of AlexeyAB's `box.c` written out."""

from collections.abc import Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st

from robustprune.detection.detector import GREEDY, Suppression
from robustprune.detection.measure.suppression import suppress

SIZE = (64, 128)
COORDINATES = st.tuples(*[st.integers(0, 12)] * 4)


def by_loops(boxes: Sequence[tuple[float, ...]], classes: list[int], threshold: float, beta: float) -> list[int]:
    """Return which boxes are left of those sorted by score: x1, y1, x2, y2, relative."""
    left: list[int] = []
    gone: set[int] = set()
    for i, (ax1, ay1, ax2, ay2) in enumerate(boxes):
        if i in gone:
            continue
        left.append(i)
        for j in range(i + 1, len(boxes)):
            bx1, by1, bx2, by2 = boxes[j]
            shared = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
            union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared
            c = (max(ax2, bx2) - min(ax1, bx1)) ** 2 + (max(ay2, by2) - min(ay1, by1)) ** 2
            d = ((ax1 + ax2 - bx1 - bx2) / 2) ** 2 + ((ay1 + ay2 - by1 - by2) / 2) ** 2
            if classes[i] == classes[j] and shared / union - (d / c) ** beta > threshold:
                gone.add(j)
    return left


@given(st.lists(COORDINATES, min_size=1, max_size=12), st.sampled_from([0.3, 0.6, 1.0]))
def test_distance_counts_as_in_alexeyabs_engine(corners: list[tuple[int, ...]], beta: float) -> None:
    boxes = [(4.0 * x, 4.0 * y, 4.0 * (x + w + 1), 4.0 * (y + h + 1)) for x, y, w, h in corners]
    classes = [index % 2 for index in range(len(boxes))]
    scores = torch.linspace(1, 0.1, len(boxes))
    left = suppress(
        torch.tensor(boxes),
        scores,
        torch.tensor(classes),
        iou=0.4501,
        by=Suppression("diou", beta),
        sides=SIZE,
    )
    height, width = SIZE
    relative = [(x1 / width, y1 / height, x2 / width, y2 / height) for x1, y1, x2, y2 in boxes]
    assert left.tolist() == by_loops(relative, classes, 0.4501, beta)


def test_distant_centres_spare_a_box_that_iou_alone_would_not() -> None:
    boxes, scores, classes = torch.tensor([[0.0, 0, 40, 40], [12, 0, 52, 40]]), torch.tensor([0.9, 0.8]), torch.zeros(2)
    for by, left in ((GREEDY, [0]), (Suppression("diou"), [0, 1])):
        assert suppress(boxes, scores, classes, iou=0.45, by=by, sides=(64, 64)).tolist() == left
