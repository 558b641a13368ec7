"""The loss of CenterNet by hand: focal loss, offsets and sizes at centres, with and without objects."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from robustprune.detection.centernet.loss import FOCAL, LEAST, focal
from robustprune.detection.centernet.targets import Targets

EMPTY = torch.zeros(0, dtype=torch.long)


def targets(heat: Tensor, *centres: tuple[int, int, int], size: float = 2.0) -> Targets:
    """Return targets of one class whose centres are (image, row, column), each with offset (.25, .5)."""
    image, row, column = torch.tensor(centres, dtype=torch.long).reshape(-1, 3).unbind(dim=1)
    return Targets(
        heat=heat,
        image=image,
        row=row,
        column=column,
        classes=torch.zeros_like(image),
        offset=torch.tensor([0.25, 0.5], dtype=heat.dtype).expand(len(image), 2),
        size=torch.full((len(image), 2), size, dtype=heat.dtype),
    )


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def outputs(heat: Tensor, offset: float = 0.0, size: float = 0.0) -> list[Tensor]:
    images, _, rows, columns = heat.shape
    return [heat, *(torch.full((images, 2, rows, columns), value, dtype=heat.dtype) for value in (offset, size))]


def test_the_focal_loss_of_a_centre_and_a_neighbour_by_hand() -> None:
    found = focal(torch.tensor([[0.8, 0.3]], dtype=torch.float64), torch.tensor([[1.0, 0.5]], dtype=torch.float64))
    expected = -(0.2**2 * math.log(0.8) + 0.5**4 * 0.3**2 * math.log(0.7))
    assert found.item() == pytest.approx(expected, rel=1e-12)
    assert found.item() == pytest.approx(0.010932, abs=5e-7)


def test_all_parts_by_hand() -> None:
    heat = torch.tensor([[[[logit(0.8), logit(0.3)]]]], dtype=torch.float64)
    wanted = targets(torch.tensor([[[[1.0, 0.5]]]], dtype=torch.float64), (0, 0, 0))
    found = FOCAL(outputs(heat, offset=0.0, size=3.0), wanted)
    expected = -(0.2**2 * math.log(0.8) + 0.5**4 * 0.3**2 * math.log(0.7))
    expected += (0.25 + 0.5) / (2 + 1e-4) + 0.1 * (1 + 1) / (2 + 1e-4)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_it_is_divided_by_the_centres() -> None:
    heat = torch.zeros(2, 1, 1, 3, dtype=torch.float64)
    wanted = targets(
        torch.tensor([[[[1.0, 0, 1]]], [[[1.0, 0, 0]]]], dtype=torch.float64), (0, 0, 0), (0, 0, 2), (1, 0, 0)
    )
    every = focal(heat.sigmoid(), wanted.heat).sum() / 3 + (3 * 0.75) / (6 + 1e-4)
    assert FOCAL(outputs(heat, size=2.0), wanted).item() == pytest.approx(every.item(), rel=1e-12)


def test_without_objects_it_is_not_divided() -> None:
    heat = torch.full((2, 3, 2, 2), logit(0.3), dtype=torch.float64)
    found = FOCAL(outputs(heat, offset=1.0, size=1.0), targets(torch.zeros_like(heat)))
    assert found.item() == pytest.approx(-24 * 0.09 * math.log(0.7), rel=1e-12)


def test_each_image_has_the_loss_that_it_has_alone() -> None:
    heat = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    map_ = torch.zeros_like(heat)
    centres = [(0, 1, 2), (0, 3, 3), (2, 0, 0)]
    for image, row, column in centres:
        map_[image, 0, row, column] = 1.0
    raw = outputs(heat, size=1.0)
    together = FOCAL(raw, targets(map_, *centres), per_image=True)
    for index in range(3):
        own = targets(map_[index : index + 1], *[(0, row, column) for image, row, column in centres if image == index])
        alone = FOCAL([output[index : index + 1] for output in raw], own)
        assert together[index].item() == pytest.approx(alone.item(), rel=1e-12)


def test_it_is_next_to_nothing_where_all_is_right_and_never_infinite() -> None:
    sure = torch.tensor([[[[1000.0, -1000.0]]]], dtype=torch.float64)
    wanted = targets(torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64), (0, 0, 0))
    right = [sure, wanted.offset.reshape(1, 2, 1, 1).expand(1, 2, 1, 2), torch.full((1, 2, 1, 2), 2.0)]
    assert FOCAL(right, wanted).item() == pytest.approx(2e-12, rel=1e-3)
    wrong = FOCAL([-sure, *right[1:]], wanted).item()
    assert wrong == pytest.approx(-2 * (1 - LEAST) ** 2 * math.log(LEAST), rel=1e-9)
