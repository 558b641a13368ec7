"""From predictions to detections: what is dropped, and in which order the rest comes."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert, nms

from robustprune.detection.anchors.detector import AnchorDetector
from robustprune.detection.detector import Suppression
from robustprune.detection.measure.detections import detect
from robustprune.detection.measure.matching import MAX_DETECTIONS

Found = tuple[Tensor, Tensor, Tensor]


class Says(AnchorDetector):
    """A detector that decodes to given predictions, whatever it sees."""

    def __init__(self, predictions: list[list[list[float]]]) -> None:
        super().__init__()
        self.predictions = torch.tensor(predictions)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images]

    def decode(self, outputs: Sequence[Tensor], image_size: int | tuple[int, int]) -> Tensor:
        return self.predictions


def found(
    *predictions: list[float], confidence: float = 0.1, nms_iou: float = 0.45, limit: int = MAX_DETECTIONS
) -> Found:
    """Detect on one image; a prediction is centre, size, objectness and two classes."""
    images = torch.zeros(1, 3, 64, 64)
    (only,) = detect(Says([list(predictions)]), images, confidence=confidence, nms_iou=nms_iou, limit=limit)
    return only


def test_every_class_of_a_box_is_a_candidate() -> None:
    boxes, scores, classes = found([10, 20, 4, 8, 0.5, 0.5, 0.75])
    assert boxes.tolist() == [[8, 16, 12, 24]] * 2
    assert scores.tolist() == [0.375, 0.25]
    assert classes.tolist() == [1, 0]


def test_the_score_is_a_product_and_must_exceed_the_threshold() -> None:
    predictions = [[10, 10, 4, 4, 0.5, 0.5, 0], [30, 30, 4, 4, 0.5, 0.625, 0]]
    boxes, scores, _ = found(*predictions, confidence=0.25)
    assert (boxes.tolist(), scores.tolist()) == ([[28, 28, 32, 32]], [0.3125])


@pytest.mark.parametrize(("picture", "left"), [((64, 64), 1), ((16, 64), 2)])
def test_distances_of_centres_are_in_units_of_the_picture_without_its_padding(
    picture: tuple[int, int], left: int
) -> None:
    # One above the other: IoU 2/3, less (d²/c²)^0.6 = 0.05, or 0.11 in a picture four times as wide as high.
    detector = Says([[[32, 30, 20, 10, 1, 1, 0], [32, 32, 20, 10, 1, 0.5, 0]]])
    detector.suppression = Suppression("diou", 0.6)
    ((boxes, _, _),) = detect(detector, torch.zeros(1, 3, 64, 64), confidence=0.1, nms_iou=0.59, pictures=[picture])
    assert len(boxes) == left


def test_of_overlapping_boxes_of_a_class_the_best_stays() -> None:
    weak, strong = [10, 10, 8, 8, 1, 0.5, 0], [11, 10, 8, 8, 1, 0.75, 0]  # IoU 7/9
    assert found(weak, strong)[1].tolist() == [0.75]
    assert found(weak, strong, nms_iou=0.8)[1].tolist() == [0.75, 0.5]
    other_class = [11, 10, 8, 8, 1, 0, 0.75]
    assert found(weak, other_class)[2].tolist() == [1, 0]


def test_no_more_than_a_hundred_the_best_first() -> None:
    many = [[4.0 * (i % 16), 4.0 * (i // 16), 1, 1, 1, (i + 1) / 256, 0] for i in range(MAX_DETECTIONS + 50)]
    _, scores, _ = found(*many, confidence=0.0)
    assert scores.tolist() == [(150 - rank) / 256 for rank in range(MAX_DETECTIONS)]
    for limit in (7, 120):
        assert len(found(*many, confidence=0.0, limit=limit)[1]) == limit


def test_the_best_are_those_of_all_candidates() -> None:
    # The best 1500 are of three objects, so that a hundred are left only after many more.
    generator = torch.Generator().manual_seed(0)
    many = 3000
    centres = torch.where(torch.arange(many) < 1500, torch.arange(many) % 3, torch.arange(many) % 400).double()
    boxes = torch.stack([20 * (centres % 20) + 10, 20 * (centres // 20) + 10, *torch.full((2, many), 16.0)], dim=1)
    boxes[:, :2] += torch.rand(many, 2, generator=generator, dtype=torch.float64)
    scores = torch.linspace(1, 0.2, many)[:, None] * torch.tensor([1.0, 0.5])
    predictions = torch.cat([boxes.float(), torch.ones(many, 1), scores], dim=1)[torch.randperm(many)]
    _, best_scores, best_classes = found(*predictions.tolist())

    corners = box_convert(predictions[:, :4], "cxcywh", "xyxy")
    left = [(score, class_) for class_ in (0, 1) for score in of_class(corners, predictions[:, 5 + class_])]
    expected = sorted(left, reverse=True)[:MAX_DETECTIONS]
    assert list(zip(best_scores.tolist(), best_classes.tolist(), strict=True)) == expected


def of_class(corners: Tensor, scores: Tensor) -> list[float]:
    """Return the scores above 0.1 that non-maximum suppression leaves of one class, all candidates at once."""
    corners, scores = corners[scores > 0.1], scores[scores > 0.1]
    kept: list[float] = scores[nms(corners, scores, 0.45)].tolist()
    return kept


def test_a_huge_box_does_not_blur_others() -> None:
    huge = [0, 0, 2e7, 2e7, 1, 1, 0.0]
    pair = [[10, 10, 8.5, 8, 1, 0, 0.5], [13, 10, 8.5, 8, 1, 0, 0.75]]  # IoU 5.5 / 11.5
    assert found(huge, *pair, nms_iou=0.478)[1].tolist() == [1, 0.75]
    assert found(huge, *pair, nms_iou=0.479)[1].tolist() == [1, 0.75, 0.5]


def test_nan_is_no_silence() -> None:
    with pytest.raises(FloatingPointError, match="the detector answers with NaN"):
        found([10, 10, 8, 8, float("nan"), 0.5, 0])


def test_images_are_apart() -> None:
    box = [10, 10, 8, 8, 1, 0.5, 0]
    images = detect(
        Says([[box], [[10, 10, 8, 8, 0, 0, 0]], [box]]), torch.zeros(3, 3, 64, 64), confidence=0.1, nms_iou=0.45
    )
    assert [len(scores) for _, scores, _ in images] == [1, 0, 1]
    assert all(boxes.shape == (len(scores), 4) for boxes, scores, _ in images)
