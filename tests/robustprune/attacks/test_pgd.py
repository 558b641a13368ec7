"""Where PGD ends up: against the closed form of a linear loss, and within its bounds on any loss."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustprune.attacks import ATTACKS, pgd

LEVELS = 256
"""Pixels, radii and steps are multiples of 1/256 where results must be exact: such sums do not round."""


def pixels(seed: int) -> Tensor:
    return torch.randint(0, LEVELS + 1, (2, 3, 4, 5), generator=torch.Generator().manual_seed(seed)) / LEVELS


def slopes(seed: int) -> Tensor:
    """Return a gradient that is positive, negative or zero."""
    return torch.randint(-2, 3, (2, 3, 4, 5), generator=torch.Generator().manual_seed(seed + 1)).float()


levels = st.integers(0, LEVELS).map(lambda level: level / LEVELS)


@given(epsilon=levels, step_size=levels, steps=st.integers(0, 7), seed=st.integers(0, 9))
def test_the_optimum_of_a_linear_loss_is_reached_exactly(
    epsilon: float, step_size: float, steps: int, seed: int
) -> None:
    images, gradient = pixels(seed), slopes(seed)
    attacked = pgd(lambda x: (x * gradient).sum(), images, epsilon=epsilon, step_size=step_size, steps=steps)
    reach = min(steps * step_size, epsilon)
    assert torch.equal(attacked, (images + reach * gradient.sign()).clamp(0, 1))


@given(epsilon=st.floats(0, 1), step_size=st.floats(0, 1), steps=st.integers(1, 5), frequency=st.floats(1, 50))
def test_no_pixel_leaves_the_ball_or_the_range(epsilon: float, step_size: float, steps: int, frequency: float) -> None:
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    attacked = pgd(lambda x: (frequency * x).sin().sum(), images, epsilon=epsilon, step_size=step_size, steps=steps)
    assert ((attacked - images).abs() <= epsilon + 1e-7).all()
    assert attacked.min() >= 0
    assert attacked.max() <= 1


def test_steps_overshoot_and_come_back() -> None:
    # The maximum lies 1/256 away and a step is 4/256: an odd number of steps ends 4/256 out, an even one at home.
    images = torch.full((1, 1, 2, 2), 0.5)

    def attack(steps: int) -> Tensor:
        return pgd(
            lambda x: -(x - images - 1 / LEVELS).abs().sum(),
            images,
            epsilon=8 / LEVELS,
            step_size=4 / LEVELS,
            steps=steps,
        )

    assert torch.equal(attack(4), images)
    assert torch.equal(attack(5), images + 4 / LEVELS)


def test_a_zero_gradient_moves_nothing() -> None:
    images = pixels(0)
    assert torch.equal(pgd(lambda x: (0 * x).sum(), images, epsilon=0.5, step_size=0.1, steps=5), images)


def test_the_images_are_left_alone() -> None:
    for needs_gradient in (False, True):
        images = pixels(0).requires_grad_(needs_gradient)
        before = images.detach().clone()
        attacked = pgd(lambda x: x.square().sum(), images, epsilon=0.25, step_size=0.25, steps=2)
        assert not attacked.requires_grad
        assert attacked.grad_fn is None
        assert images.grad is None
        assert images.requires_grad is needs_gradient
        assert torch.equal(images, before)
        assert not torch.equal(attacked, before)


def test_no_steps_give_a_copy() -> None:
    images = pixels(0)
    attacked = pgd(lambda x: x.sum(), images, epsilon=0.25, step_size=0.25, steps=0)
    assert torch.equal(attacked, images)
    assert attacked.data_ptr() != images.data_ptr()


def test_the_same_attack_by_name() -> None:
    assert ATTACKS["pgd"] is pgd
