"""The library's projections as units: those that attacks rest on, and those that keep others from being offered."""

import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from robustprune.attacks import frozen
from robustprune.attacks.adversarial_library.library import library_attack
from robustprune.attacks.adversarial_library.unavailable import UNAVAILABLE
from robustprune.attacks.norms import distances
from tests.robustprune.attacks.classifiers.linear import linear, optimum

# Imported as attacks are, without the package's warnings.
fast_minimum_norm = sys.modules[library_attack("fmn").__module__]
auto_pgd = sys.modules[library_attack("apgd").__module__]


def vectors(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return vectors of very different lengths and radii that some of them are within."""
    generator = torch.Generator().manual_seed(seed)
    scales = 10 ** (2 * torch.rand(64, 1, generator=generator) - 1)
    return torch.randn(64, 20, generator=generator) * scales, 10 * torch.rand(64, generator=generator)


def shrunk(vector: Tensor, radius: float, room: Tensor | float = math.inf) -> Tensor:
    """Return the nearest vector whose L1 norm is at most `radius` and whose values have `room`: by bisection.

    All values shrink by the same amount, as far as 0 (Duchi et al. 2008).
    """
    vector = vector.double()
    size = vector.abs()
    room = torch.as_tensor(room).double().expand_as(size)
    low, high = 0.0, size.max().item()
    if torch.minimum(size, room).sum() <= radius:
        high = 0.0
    for _ in range(100):
        middle = (low + high) / 2
        inside = torch.minimum((size - middle).clamp_min(0), room).sum() <= radius
        low, high = (low, middle) if inside else (middle, high)
    return vector.sign() * torch.minimum((size - high).clamp_min(0), room)


def test_l1_is_the_nearest_point_of_the_ball() -> None:
    points, radii = vectors()
    inside = points.norm(p=1, dim=1) <= radii
    assert 0 < inside.sum() < len(points)
    nearest = torch.stack([shrunk(point, float(radius)) for point, radius in zip(points, radii, strict=True)])
    projected = fast_minimum_norm.l1_projection_(points.clone(), radii)
    torch.testing.assert_close(projected.double(), nearest, rtol=1e-4, atol=1e-5)
    assert torch.equal(projected[inside], points[inside])


def test_linf_clips() -> None:
    points, radii = vectors()
    projected = fast_minimum_norm.linf_projection_(points.clone(), radii)
    assert torch.equal(projected, points.sign() * torch.minimum(points.abs(), radii[:, None]))


def test_l0_keeps_the_largest() -> None:
    points, radii = vectors()
    projected = fast_minimum_norm.l0_projection_(points.clone(), radii)
    for before, after, radius in zip(points, projected, radii, strict=True):
        kept = max(1, int(radius))  # even where none may be kept
        expected = torch.zeros_like(before)
        largest = before.abs().topk(kept).indices
        expected[largest] = before[largest]
        assert torch.equal(after, expected)


def test_l0_keeps_all_of_several_alike() -> None:
    # More than the radius allows: the attack counts what it changed itself, so that distances stay true.
    projected = fast_minimum_norm.l0_projection_(torch.tensor([[0.5, -0.5, 0.5, 0.1]]), torch.tensor([1.0]))
    assert projected.count_nonzero() == 3


@pytest.mark.parametrize("norm", ["l0", "l1", "l2", "linf"])
def test_in_place_means_contiguous(norm: str) -> None:
    points, radii = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.ones(2)
    contiguous, other = points.clone(), points.to(memory_format=torch.channels_last)
    for each in (contiguous, other):
        getattr(fast_minimum_norm, f"{norm}_projection_")(each, radii / 2 if norm == "linf" else radii)
    assert not torch.equal(contiguous, points)
    assert torch.equal(other, points)  # which no one is told


# What is unavailable. Once one of these fails, the library is mended, and `UNAVAILABLE` an entry too long.


def test_all_that_is_unavailable_is_tested_here() -> None:
    assert set(UNAVAILABLE) == {("fmn", "l2"), ("apgd", "l1")}


def test_fmn_l2_moves_points_that_are_inside() -> None:
    inside = torch.tensor([[0.3, 0.4]])
    projected = fast_minimum_norm.l2_projection_(inside.clone(), torch.tensor([5.0]))
    assert not torch.allclose(projected, inside)
    # Nor does it end on the sphere: values are cut at 1, where their factor should be.
    assert projected.norm().item() == pytest.approx(2**0.5)


def test_fmn_l2_fails_where_pixels_are_saturated() -> None:
    assert fooled_by("fmn", saturated=True, norm=2, steps=1000).double().mean() < 0.1


def test_apgd_l1_leaves_the_ball() -> None:
    image, step, radius = torch.tensor([[0.0, 0.0, 0.5]]), torch.tensor([[-0.4, -0.3, 0.2]]), 0.1
    nearest = shrunk(step[0], radius, room=torch.tensor([0, 0, 0.5]))
    assert nearest.abs().sum().item() == pytest.approx(radius)
    projected = step + auto_pgd.l1_projection(image, step, torch.tensor([radius]))
    assert projected.abs().sum() > 1.9 * radius


def test_apgd_l1_misses_images_that_the_ball_allows() -> None:
    problem = linear(saturated=False, count=256)
    radii = 1.05 * optimum(problem)["l1"].float()
    fooled = fooled_by("apgd", saturated=False, count=256, norm=1, eps=radii, n_iter=100, loss_function="ce")
    assert not fooled.all()


def test_the_same_criterion_passes_what_is_available() -> None:
    for norm, order in (("l2", 2), ("linf", math.inf)):
        for saturated in (False, True):
            radii = 1.05 * optimum(linear(saturated=saturated))[norm].float()
            assert fooled_by("apgd", saturated=saturated, norm=order, eps=radii, n_iter=100, loss_function="ce").all()


def fooled_by(attack: str, *, saturated: bool, count: int = 32, **options: Any) -> Tensor:
    """Return which of a linear network's images the library itself makes fool it; asserts that they are in the ball."""
    problem = linear(saturated=saturated, count=count)
    torch.manual_seed(0)
    with frozen(problem.classifier):
        attacked = library_attack(attack)(problem.classifier, problem.pixels, problem.labels, **options)
    if "eps" in options:
        norm = {1: "l1", 2: "l2", math.inf: "linf"}[options["norm"]]
        assert (distances(attacked, problem.pixels)[norm] <= options["eps"] * 1.001 + 1e-6).all()
    fooled: Tensor = problem.classifier(attacked).argmax(dim=1) != problem.labels
    return fooled
