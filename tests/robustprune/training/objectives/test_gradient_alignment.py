"""GradAlign in closed form: of quadratic and affine losses, and what its gradient goes through."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustprune.attacks import FastAtSettings, configured
from robustprune.attacks.uniform_start import uniform_noise
from robustprune.training import Objective
from robustprune.training.objectives.gradient_alignment import (
    Alignment,
    GradAlign,
    cosines,
    default_weight,
    misalignment,
)
from tests.robustprune.classification.small import bright_or_dark, convolutional, task_on

TWO = torch.tensor([1.0, 2.0], dtype=torch.float64)
X, ETA = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([[0.0, 1.0]], dtype=torch.float64)


def quadratic(diagonal: Tensor) -> nn.Module:
    """½ xᵀ H x, summed over images; H is diagonal."""

    class Quadratic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.h = nn.Parameter(diagonal.clone())

        def forward(self, images: Tensor) -> Tensor:
            return (0.5 * self.h * images.square()).sum()

    return Quadratic()


def test_of_a_quadratic_loss_it_is_known() -> None:
    # ∇L(x) = (1, 0), ∇L(x + η) = (1, 2).
    loss = quadratic(TWO)
    torch.testing.assert_close(cosines(loss, X, ETA), torch.tensor([1 / 5**0.5], dtype=torch.float64))
    assert misalignment(loss, X, ETA).item() == pytest.approx(1 - 1 / 5**0.5, abs=1e-12)


def test_its_gradient_goes_through_the_second_gradient_alone() -> None:
    # With H = diag(a, b): g(x) = (1, 0) held fixed, g(x + η) = (a, b), so reg = 1 − a / √(a² + b²).
    loss = quadratic(TWO)
    misalignment(loss, X, ETA).backward()
    a, b = TWO.tolist()
    expected = torch.tensor([-(b**2), a * b], dtype=torch.float64) / (a * a + b * b) ** 1.5
    torch.testing.assert_close(loss.get_parameter("h").grad, expected)
    # At x = (1, 1) the first gradient, (a, b), would have a part in it as well.
    other = quadratic(TWO)
    x = torch.ones(1, 2, dtype=torch.float64)
    misalignment(other, x, ETA).backward()
    h = TWO.clone().requires_grad_()
    (1 - torch.cosine_similarity(TWO, h * torch.tensor([1.0, 2.0], dtype=torch.float64), dim=0)).backward()
    torch.testing.assert_close(other.get_parameter("h").grad, h.grad)


@pytest.mark.parametrize("seed", range(3))
def test_an_affine_loss_is_aligned(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    slope = torch.randn(5, generator=generator, dtype=torch.float64)
    images, noise = torch.rand(2, 4, 5, generator=generator, dtype=torch.float64)
    assert abs(misalignment(lambda x: (x * slope.requires_grad_()).sum() + 3, images, noise).item()) < 1e-12


def test_images_without_a_gradient_are_left_out_and_spoil_nothing() -> None:
    loss = quadratic(TWO)
    # No gradient at x, none at x + η, and one image with both.
    images = torch.cat([torch.zeros(1, 2), torch.tensor([[0.0, -1.0]]), X]).double()
    noise = ETA.repeat(3, 1)
    assert len(cosines(loss, images, noise)) == 1
    found = misalignment(loss, images, noise)
    assert found.item() == pytest.approx(1 - 1 / 5**0.5, abs=1e-12)
    found.backward()
    gradient = loss.get_parameter("h").grad
    assert gradient is not None
    assert gradient.isfinite().all()
    nothing = misalignment(loss, images[:1], noise[:1] * 0)
    assert nothing.item() == 0
    nothing.backward()


def test_what_sure_answers_leave_of_a_gradient_counts() -> None:
    tiny = quadratic(TWO.float() * 1e-30)
    torch.testing.assert_close(cosines(tiny, X.float(), ETA.float()), torch.tensor([1 / 5**0.5]))


@pytest.mark.parametrize(("pixels", "expected"), [(8, 0.2), (16, 2.0), (0, 0.02)])
def test_the_weight_grows_with_the_radius(pixels: int, expected: float) -> None:
    assert default_weight(pixels / 255) == pytest.approx(expected)
    assert GradAlign().weight_at(pixels / 255) == pytest.approx(expected)
    assert GradAlign(weight=0.7).weight_at(pixels / 255) == 0.7


def aligned(weight: float) -> Objective:
    generator = torch.Generator().manual_seed(3)
    return Objective(
        task=task_on(bright_or_dark(8)),
        attack=configured(FastAtSettings(epsilon=0.03), generator),
        alignment=Alignment(weight=weight, epsilon=0.03, generator=generator),
    )


@pytest.mark.parametrize("training", [True, False])
def test_the_term_is_added_and_moves_nothing_but_gradients(training: bool) -> None:
    ((pixels, labels),) = aligned(0).task.batches(8)
    statistics: list[dict[str, Tensor]] = []
    losses: list[float] = []
    gradients: list[Tensor] = []
    for weight in (0.0, 1.0, 3.0):
        network = convolutional().train(training)
        loss = aligned(weight)(network, pixels, labels)
        loss.backward()
        statistics.append({name: buffer.clone() for name, buffer in network.named_buffers()})
        losses.append(loss.item())
        gradient = network.get_parameter("network.0.weight").grad
        assert gradient is not None
        gradients.append(gradient)
        assert all(module.training is training for module in network.modules())
    plain = Objective(task=aligned(0).task, attack=aligned(0).attack)
    network = convolutional().train(training)
    assert plain(network, pixels, labels).item() == losses[0]
    assert all(torch.equal(buffer, statistics[0][name]) for name, buffer in network.named_buffers())
    assert all(torch.equal(statistics[2][name], buffer) for name, buffer in statistics[0].items())
    assert losses[0] < losses[1]
    assert losses[2] - losses[0] == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-4)
    torch.testing.assert_close(gradients[2] - gradients[0], 3 * (gradients[1] - gradients[0]), rtol=1e-3, atol=1e-6)
    assert not torch.equal(gradients[1], gradients[0])


def test_the_term_is_that_of_the_network_in_eval_mode() -> None:
    network = convolutional().eval()
    ((pixels, labels),) = aligned(1).task.batches(8)
    # The attack draws its start first.
    generator = torch.Generator().manual_seed(3)
    uniform_noise(pixels, epsilon=0.03, generator=generator)
    noise = uniform_noise(pixels, epsilon=0.03, generator=generator)
    expected = misalignment(lambda x: nn.functional.cross_entropy(network(x), labels, reduction="sum"), pixels, noise)
    found = aligned(1)(network, pixels, labels) - aligned(0)(network, pixels, labels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
