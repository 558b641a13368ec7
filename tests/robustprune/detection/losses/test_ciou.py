"""The loss against the published formula, written once more in plain numbers, and against what boxes must feel."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from robustprune.detection.darknet import Head
from robustprune.detection.losses import ciou
from robustprune.detection.losses.assignment import assign

IMAGE_SIZE, STRIDE, GRID = 32, 16, 2
HEAD = Head(torch.tensor([[16.0, 16.0]]), STRIDE, classes=2, scale_x_y=1.0, ignore_thresh=0.7)
ROW, COLUMN = 1, 0


def target(box: list[float], class_: int = 0) -> Tensor:
    """Return one object of image 0, its box (centre and size) in grid cells."""
    return torch.tensor([[0.0, class_, *(side / GRID for side in box)]])


def output(box: list[float], *, objectness: float, background: float, classes: list[float]) -> Tensor:
    """Return raw outputs of one image whose cell (`ROW`, `COLUMN`) says `box`, in cells."""
    raw = torch.zeros(1, 1, GRID, GRID, 7)
    raw[..., 4] = background
    x, y, width, height = box
    place = torch.tensor([x - COLUMN, y - ROW]).logit()
    raw[0, 0, ROW, COLUMN] = torch.tensor([*place, math.log(width), math.log(height), objectness, *classes])
    return raw


def loss(raw: Tensor, targets: Tensor) -> Tensor:
    return ciou([raw], assign(targets, [HEAD], IMAGE_SIZE), [HEAD])


def complete_iou(first: list[float], second: list[float]) -> float:
    """Return CIoU of two boxes (centre and size) as Zheng et al. 2020 write it."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = first, second
    edges = [(min, max), (max, min)]
    (inner_x, outer_x), (inner_y, outer_y) = (
        tuple(high(a + a_side / 2, b + b_side / 2) - low(a - a_side / 2, b - b_side / 2) for high, low in edges)
        for a, b, a_side, b_side in ((ax, bx, aw, bw), (ay, by, ah, bh))
    )
    inner = max(0, inner_x) * max(0, inner_y)
    iou = inner / (aw * ah + bw * bh - inner)
    v = 4 / math.pi**2 * (math.atan(bw / bh) - math.atan(aw / ah)) ** 2
    alpha = v / (1 - iou + v)
    return iou - ((ax - bx) ** 2 + (ay - by) ** 2) / (outer_x**2 + outer_y**2) - alpha * v


def cross_entropy(logit: float, wanted: float) -> float:
    return math.log1p(math.exp(logit)) - wanted * logit


@pytest.mark.parametrize(
    ("predicted", "wanted"),
    [
        ([0.5, 1.5, 1, 1], [0.5, 1.5, 1, 2]),
        ([0.5, 1.5, 1, 1], [0.75, 1.25, 1, 1]),
        ([0.1, 1.9, 0.5, 1.25], [0.9, 1.2, 1.5, 0.4]),
        ([0.2, 1.2, 0.3, 0.3], [0.9, 1.9, 0.3, 0.3]),  # apart: CIoU below 0
    ],
)
def test_one_object_by_hand(predicted: list[float], wanted: list[float]) -> None:
    raw = output(predicted, objectness=2.0, background=-1.0, classes=[1.0, -2.0])
    quality = complete_iou(predicted, wanted)
    objectness = (cross_entropy(2, max(0, quality)) + 3 * cross_entropy(-1, 0)) / 4
    classes = (cross_entropy(1, 0) + cross_entropy(-2, 1)) / 2
    expected = 0.05 * (1 - quality) + objectness + 0.5 * classes
    assert loss(raw, target(wanted, class_=1)).item() == pytest.approx(expected, rel=1e-5)


def test_heads_add_up() -> None:
    raw = output([0.5, 1.5, 1, 1], objectness=2, background=-1, classes=[1, -2])
    assignment = assign(target([0.4, 1.5, 1, 1]), [HEAD], IMAGE_SIZE)
    single = ciou([raw], assignment, [HEAD])
    torch.testing.assert_close(ciou([raw, raw], assignment * 2, [HEAD] * 2), 2 * single)


def test_the_right_answer_costs_nothing() -> None:
    box = [0.37, 1.81, 0.6, 1.4]
    perfect = output(box, objectness=16, background=-16, classes=[16, -16])
    assert 0 <= loss(perfect, target(box)).item() < 1e-4


SUB_PIXELS = torch.arange(-8, 9) / (4 * STRIDE)
"""Shifts by quarters of a pixel, in cells, up to two pixels to each side."""


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_the_loss_is_least_at_the_true_box_and_feels_a_quarter_of_a_pixel(axis: int) -> None:
    true = [0.45, 1.55, 0.7, 0.9]
    raw = output(true, objectness=3, background=-3, classes=[3, -3])
    losses = []
    for shift in SUB_PIXELS.tolist():
        moved = list(true)
        moved[axis] += shift
        losses.append(loss(raw, target(moved)).item())
    middle = len(losses) // 2
    assert losses.index(min(losses)) == middle
    assert losses[middle:] == sorted(set(losses[middle:]))
    assert losses[: middle + 1] == sorted(set(losses[: middle + 1]), reverse=True)


def test_an_image_of_a_batch_costs_what_it_costs_alone() -> None:
    raw = torch.randn(3, 1, GRID, GRID, 7, generator=torch.Generator().manual_seed(0))
    boxes = [[0.4, 1.6, 1, 1], [1.5, 0.5, 0.5, 1.5], [0.6, 1.2, 1.5, 0.7]]
    targets = torch.cat([target(box, class_) for box, class_ in zip(boxes, (0, 1, 1), strict=True)])
    # Two objects, none, one.
    targets[2, 0] = 2
    found = ciou([raw], assign(targets, [HEAD], IMAGE_SIZE), [HEAD], per_image=True)
    assert found.shape == (3,)
    for image in range(3):
        own = targets[targets[:, 0] == image] * torch.tensor([0, 1, 1, 1, 1, 1])
        torch.testing.assert_close(found[image], loss(raw[image : image + 1], own))


def test_a_worse_prediction_raises_the_loss() -> None:
    losses = [
        loss(output([x, 1.5, 1, 1], objectness=3, background=-3, classes=[3, -3]), target([0.2, 1.5, 1, 1])).item()
        for x in (0.2, 0.3, 0.5, 0.8, 0.95)
    ]
    assert losses == sorted(set(losses))


def test_alpha_carries_no_gradient() -> None:
    predicted, wanted = [0.4, 1.6, 1.5, 0.5], torch.tensor([0.5, 0.5, 0.6, 1.2])
    raw = output(predicted, objectness=0.0, background=0.0, classes=[0.0, 0.0]).requires_grad_()
    loss(raw, target([0.5, 1.5, 0.6, 1.2])).backward()
    assert raw.grad is not None

    def gradient(*, through_alpha: bool) -> Tensor:
        logits = raw.detach()[0, 0, ROW, COLUMN, :4].requires_grad_()
        centre, size = logits[:2].sigmoid(), logits[2:].exp()
        low, high = torch.stack([centre - size / 2, centre + size / 2])
        low_wanted, high_wanted = torch.stack([wanted[:2] - wanted[2:] / 2, wanted[:2] + wanted[2:] / 2])
        inner = (high.minimum(high_wanted) - low.maximum(low_wanted)).prod()
        iou = inner / (size.prod() + wanted[2:].prod() - inner)
        distance = (centre - wanted[:2]).square().sum()
        diagonal = (high.maximum(high_wanted) - low.minimum(low_wanted)).square().sum()
        v = 4 / math.pi**2 * ((wanted[2] / wanted[3]).atan() - (size[0] / size[1]).atan()) ** 2
        alpha = v / (1 - iou + v)
        box_loss = 1 - iou + distance / diagonal + (alpha if through_alpha else alpha.detach()) * v
        (found,) = torch.autograd.grad(0.05 * box_loss, logits)
        return found

    found = raw.grad[0, 0, ROW, COLUMN, :4]
    torch.testing.assert_close(found, gradient(through_alpha=False), rtol=1e-4, atol=1e-7)
    assert not torch.allclose(found, gradient(through_alpha=True), rtol=1e-2)


def test_the_objectness_target_carries_no_gradient() -> None:
    wanted = target([0.4, 1.6, 1, 1])
    gradients = []
    for objectness in (-5.0, 5.0):
        raw = output([0.5, 1.5, 1, 1], objectness=objectness, background=0, classes=[0, 0]).requires_grad_()
        loss(raw, wanted).backward()
        assert raw.grad is not None
        gradients.append(raw.grad[..., :4])
    assert gradients[0].abs().max() > 0
    assert torch.equal(*gradients)


def test_without_objects_only_objectness_counts() -> None:
    raw = torch.randn(2, 1, GRID, GRID, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = loss(raw, torch.zeros(0, 6))
    torch.testing.assert_close(found, softplus(raw[..., 4]).mean())
    found.backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()
    assert not raw.grad[..., [0, 1, 2, 3, 5, 6]].any()


def test_two_objects_on_one_anchor_in_any_order() -> None:
    near, far = [0.55, 1.5, 1, 1], [0.9, 1.9, 0.5, 2]
    predicted = [0.5, 1.5, 1, 1]
    both = torch.cat([target(near, class_=0), target(far, class_=1)])
    found = []
    for targets in (both, both.flip(0)):
        raw = output(predicted, objectness=1, background=-1, classes=[1, -1]).requires_grad_()
        value = loss(raw, targets)
        value.backward()
        assert raw.grad is not None
        found.append((value.detach(), raw.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-7)
    # d/dz of the mean of four cross-entropies is (sigmoid(z) - target) / 4: the better box is the target.
    wanted = torch.tensor(1.0).sigmoid() - 4 * found[0][1][0, 0, ROW, COLUMN, 4]
    assert wanted.item() == pytest.approx(complete_iou(predicted, near), abs=1e-5)


def test_a_step_too_far_stays_finite() -> None:
    raw = output([0.5, 1.5, 1, 1], objectness=0, background=0, classes=[0, 0])
    raw[..., 2:4] = 200
    raw.requires_grad_()
    found = loss(raw, target([0.5, 1.5, 1, 1]))
    found.backward()
    assert found.isfinite()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


@pytest.mark.parametrize("per_image", [False, True])
def test_where_a_softmax_goes_over_classes_their_loss_is_its_cross_entropy(per_image: bool) -> None:
    raw = output([0.5, 1.5, 1, 1], objectness=1.0, background=-2.0, classes=[0.3, -1.2])
    targets = target([0.5, 1.5, 1, 1], class_=1)
    softmax = dataclasses.replace(HEAD, softmax=True)
    assignments = assign(targets, [HEAD], IMAGE_SIZE)
    apart, together = (ciou([raw], assignments, [head], per_image=per_image) for head in (HEAD, softmax))
    of_each = (cross_entropy(0.3, 0) + cross_entropy(-1.2, 1)) / 2
    of_both = math.log(1 + math.exp(0.3 - -1.2))
    assert (together - apart).item() == pytest.approx(0.5 * (of_both - of_each), abs=1e-6)
