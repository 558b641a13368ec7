"""At each exact radius a box has the IoU that it stands for; the published radius is another, and known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robustprune.detection.centernet.radius import exact_radii, exact_radius, published_radius

SIDES = torch.tensor([[100.0, 100], [20, 40], [1, 1], [3, 17], [250, 4]], dtype=torch.float64).T
HEIGHT, WIDTH = SIDES


def overlaps(height: Tensor, width: Tensor, radii: Tensor) -> Tensor:
    """Return the IoU of a box that is shifted, shrunk or grown by a radius, by what it is of two rectangles."""
    shifted, shrunk, grown = radii
    shared = (height - shifted) * (width - shifted)
    return torch.stack(
        [
            shared / (2 * height * width - shared),
            (height - 2 * shrunk) * (width - 2 * shrunk) / (height * width),
            height * width / ((height + 2 * grown) * (width + 2 * grown)),
        ]
    )


@pytest.mark.parametrize("overlap", [0.7, 0.3])
def test_boxes_off_by_an_exact_radius_have_that_overlap(overlap: float) -> None:
    radii = exact_radii(HEIGHT, WIDTH, overlap=overlap)
    assert (radii > 0).all()
    wanted = torch.full_like(radii, overlap)
    torch.testing.assert_close(overlaps(HEIGHT, WIDTH, radii), wanted, rtol=0, atol=1e-12)


def test_the_least_radius_counts() -> None:
    assert exact_radii(HEIGHT, WIDTH)[:, 0].tolist() == pytest.approx([9.25, 8.17, 9.76], abs=0.005)
    assert torch.equal(exact_radius(HEIGHT, WIDTH), exact_radii(HEIGHT, WIDTH).amin(dim=0))
    assert exact_radius(HEIGHT, WIDTH)[:2].tolist() == pytest.approx([8.167, 2.1548], abs=5e-4)


def test_the_published_radius_is_that_of_grown_boxes_without_a_division() -> None:
    found = published_radius(HEIGHT, WIDTH)
    assert found[:2].tolist() == pytest.approx([27.33, 7.36], abs=0.005)
    torch.testing.assert_close(found, exact_radii(HEIGHT, WIDTH)[2] * 2 * 1.4, rtol=1e-12, atol=0)
