"""From boxes to heat maps and back: exact, with ties, at edges, of no object at all."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from robustprune.detection.centernet.network import CenterNet
from robustprune.detection.centernet.radius import exact_radius, published_radius
from robustprune.detection.centernet.targets import Radius, Targets, encode
from robustprune.detection.measure.detections import detect

CLASSES = 3


class Blank(nn.Module):
    """A backbone that sees nothing."""

    widths = (2, 2)


def centernet() -> CenterNet:
    return CenterNet(Blank(), classes=CLASSES, hidden=2, image_size=(64, 96))


def encoded(objects: Tensor, *, images: int = 1, radius: Radius = published_radius) -> Targets:
    return encode(objects, images=images, classes=CLASSES, rows=16, columns=24, radius=radius)


def objects(*boxes: tuple[int, int, float, float, float, float]) -> Tensor:
    """Return (M, 6) of image, class, x, y, w, h in pixels of images of 64 × 96."""
    found = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 6)
    found[:, 2:] /= torch.tensor([96, 64, 96, 64])
    return found


def said(targets: Targets) -> list[Tensor]:
    """Return the outputs of a detector that says just what is wanted."""
    images, _, rows, columns = targets.heat.shape
    offset, size = (torch.zeros(images, 2, rows, columns, dtype=torch.float64) for _ in range(2))
    place = targets.image, slice(None), targets.row, targets.column
    offset[place], size[place] = targets.offset, targets.size
    return [torch.logit(targets.heat.clamp(1e-9, 1 - 1e-9)), offset, size]


class Says(CenterNet):
    """A detector that answers with given outputs, whatever it sees."""

    outputs: list[Tensor]

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.outputs


def detections(outputs: list[Tensor], *, confidence: float = 0.5) -> list[tuple[Tensor, Tensor, Tensor]]:
    detector = Says(Blank(), classes=CLASSES, hidden=2, image_size=(64, 96))
    detector.outputs = outputs
    return detect(detector, torch.zeros(len(outputs[0]), 3, 64, 96), confidence=confidence, nms_iou=0.01)


@pytest.mark.parametrize("radius", [exact_radius, published_radius])
def test_what_is_encoded_is_decoded(radius: Radius) -> None:
    boxes = [(0, 1, 13.7, 20.2, 17.3, 9.9), (0, 0, 70.1, 30.3, 30.0, 41.5), (1, 2, 50.0, 33.3, 4.5, 5.5)]
    found = detections(said(encoded(objects(*boxes), images=2, radius=radius)))
    for image in range(2):
        own = {class_: box for index, class_, *box in boxes if index == image}
        corners, scores, classes = found[image]
        assert sorted(classes.tolist()) == sorted(own)
        assert scores.tolist() == pytest.approx([1.0] * len(own), abs=1e-8)
        for class_, (x1, y1, x2, y2) in zip(classes.tolist(), corners.tolist(), strict=True):
            assert [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1] == pytest.approx(own[class_], rel=0, abs=1e-12)


def test_the_heat_is_a_gaussian_of_whole_radii_and_the_larger_where_two_meet() -> None:
    found = encoded(objects((0, 1, 22, 22, 40, 40), (0, 1, 34, 22, 40, 40)))
    radius = math.floor(published_radius(torch.tensor(10.0), torch.tensor(10.0)).item())
    sigma = (2 * radius + 1) / 6
    assert radius == 2
    for column in range(24):
        distance = min(abs(column - 5), abs(column - 8))
        expected = math.exp(-(distance**2 + 1) / (2 * sigma**2))
        assert found.heat[0, 1, 6, column].item() == pytest.approx(expected, rel=1e-12)
    assert (found.heat[0, 1] == 1).nonzero().tolist() == [[5, 5], [5, 8]]
    assert not found.heat[0, [0, 2]].any()


def test_the_exact_radius_is_of_sides_rounded_up() -> None:
    found = encoded(objects((0, 0, 48, 32, 77, 78)), radius=exact_radius)
    radius = math.floor(exact_radius(torch.tensor(20.0), torch.tensor(20.0)).item())
    assert radius == 1
    assert found.heat[0, 0, 8, 13].item() == pytest.approx(math.exp(-1 / (2 * (3 / 6) ** 2)))


def test_a_centre_on_an_edge_is_of_the_last_cell_and_decoded_all_the_same() -> None:
    boxes = [(0, 0, 96.0, 64.0, 8.0, 12.0), (0, 1, 0.0, 0.0, 8.0, 12.0)]
    targets = encoded(objects(*boxes))
    assert (targets.row.tolist(), targets.column.tolist()) == ([15, 0], [23, 0])
    ((corners, _, classes),) = detections(said(targets))
    found = dict(zip(classes.tolist(), corners.tolist(), strict=True))
    assert found[0] == pytest.approx([92, 58, 100, 70], abs=1e-12)
    assert found[1] == pytest.approx([-4, -6, 4, 6], abs=1e-12)


def test_no_object_and_one_without_extent_leave_the_heat_cold() -> None:
    for none in (objects(), objects((0, 1, 20, 20, 0, 8))):
        targets = encoded(none, images=2)
        assert targets.heat.shape == (2, CLASSES, 16, 24)
        assert not targets.heat.any()
        assert len(targets.image) == 0
        assert all(len(scores) == 0 for _, scores, _ in detections(said(targets)))


def test_equal_neighbours_are_both_peaks_and_a_lower_one_is_none() -> None:
    targets = encoded(objects())
    heat, offset, size = said(targets)
    heat[0, 0, 4, 4:7] = torch.tensor([2.0, 2.0, 1.0])
    heat[0, 2, 4, 5] = 1.5
    ((corners, scores, classes),) = detections([heat, offset, size + 1])
    sigmoid = torch.tensor([2.0, 2.0, 1.5], dtype=torch.float64).sigmoid().tolist()
    assert (scores.tolist(), classes.tolist()) == (sigmoid, [0, 0, 2])
    assert corners.tolist() == [[14.0, 14, 18, 18], [18.0, 14, 22, 18], [18.0, 14, 22, 18]]


def test_boxes_do_not_suppress_each_other_and_the_best_hundred_of_all_classes_are_left() -> None:
    heat = torch.full((1, CLASSES, 16, 24), -9.0, dtype=torch.float64)
    heat[0, :, ::2, ::2] = torch.rand(CLASSES, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    offset, size = torch.zeros(2, 1, 2, 16, 24, dtype=torch.float64)
    ((_, scores, classes),) = detections([heat, offset, size + 20], confidence=0.005)
    assert scores.tolist() == heat.sigmoid().flatten().sort(descending=True).values[:100].tolist()
    assert set(classes.tolist()) == {0, 1, 2}


def test_what_a_margin_attack_sees_is_every_cell() -> None:
    detector, raw = centernet(), [torch.randn(2, channels, 16, 24) for channels in (CLASSES, 2, 2)]
    (found,) = detector.candidates(raw, (64, 96))
    decoded = detector.decode(raw, (64, 96))
    assert torch.equal(found.boxes, decoded[..., :4])
    assert torch.equal(found.logits, raw[0].flatten(2).transpose(1, 2))
    peaks = decoded[..., 4] == 1
    assert 0 < peaks.sum() < peaks.numel()
    best = found.logits.sigmoid().amax(dim=2)
    assert torch.equal(found.objectness, best)


def test_gradients_of_boxes_and_scores_reach_all_outputs() -> None:
    raw = [torch.randn(1, channels, 16, 24, requires_grad=True) for channels in (CLASSES, 2, 2)]
    centernet().decode(raw, (64, 96)).sum().backward()
    assert all(output.grad is not None and output.grad.any() for output in raw)


def test_near_ties_are_told_and_no_others() -> None:
    heat = torch.zeros(1, CLASSES, 16, 24, dtype=torch.float64)
    heat[0] = (
        torch.arange(24.0) + 10 * torch.arange(16.0)[:, None]
    )  # but for the last, each has a greater one beside it
    heat = heat / 100
    heat[0, 1, 4, 5] = heat[0, 1, 5, 6] + 1e-6
    raw = [heat, *torch.zeros(2, 1, 2, 16, 24, dtype=torch.float64)]
    found = centernet().near_ties(raw)
    assert found.shape == centernet().decode(raw, (64, 96)).shape
    assert found.nonzero()[:, 1:].tolist() == [[4 * 24 + 5, column] for column in (4, 6)]
