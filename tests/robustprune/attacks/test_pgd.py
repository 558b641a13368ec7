"""Where PGD ends up: against the closed form of a linear loss, and from random starts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustprune.attacks import pgd
from tests.robustprune.attacks.losses import LEVELS, linear, pixels, plain, seeded, slopes, wavy

levels = st.integers(0, LEVELS).map(lambda level: level / LEVELS)


@given(epsilon=levels, step_size=levels, steps=st.integers(0, 7), seed=st.integers(0, 9))
def test_the_optimum_of_a_linear_loss_is_reached_exactly(
    epsilon: float, step_size: float, steps: int, seed: int
) -> None:
    images, gradient = pixels(seed), slopes(seed)
    attacked = pgd(linear(gradient), images, epsilon=epsilon, step_size=step_size, steps=steps)
    reach = min(steps * step_size, epsilon)
    assert torch.equal(attacked, (images + reach * gradient.sign()).clamp(0, 1))


@given(epsilon=levels, seed=st.integers(0, 9), restarts=st.integers(1, 3))
def test_from_any_start_too_if_the_steps_cross_the_ball(epsilon: float, seed: int, restarts: int) -> None:
    images, gradient = pixels(seed), slopes(seed)
    attacked = pgd(
        linear(gradient),
        images,
        epsilon=epsilon,
        step_size=epsilon,
        steps=3,
        restarts=restarts,
        generator=seeded(seed),
    )
    optimum = (images + epsilon * gradient.sign()).clamp(0, 1)
    assert torch.equal(attacked[gradient != 0], optimum[gradient != 0])


def test_the_loss_grows_with_the_radius_and_the_steps() -> None:
    images, loss = pixels(0), linear(slopes(0))

    def reached(epsilon: float, steps: int) -> float:
        return loss(pgd(loss, images, epsilon=epsilon, step_size=1 / LEVELS, steps=steps)).item()

    by_radius = [reached(level / LEVELS, 8) for level in (0, 2, 4, 8, 16)]
    assert sorted(by_radius) == by_radius
    assert by_radius[3] == by_radius[4]  # eight steps do not reach further
    by_steps = [reached(8 / LEVELS, steps) for steps in (0, 2, 4, 8, 16)]
    assert by_steps == by_radius


def test_steps_overshoot_and_come_back() -> None:
    # The maximum lies 1/256 away and a step is 4/256: an odd number of steps ends 4/256 out, an even one at home.
    images = torch.full((1, 1, 2, 2), 0.5)

    def attack(steps: int) -> Tensor:
        return pgd(
            plain(lambda x: -(x - images - 1 / LEVELS).abs().sum()),
            images,
            epsilon=8 / LEVELS,
            step_size=4 / LEVELS,
            steps=steps,
        )

    assert torch.equal(attack(4), images)
    assert torch.equal(attack(5), images + 4 / LEVELS)


def test_a_zero_gradient_moves_nothing() -> None:
    images = pixels(0)
    assert torch.equal(pgd(plain(lambda x: (0 * x).sum()), images, epsilon=0.5, step_size=0.1, steps=5), images)


def test_no_steps_give_a_copy() -> None:
    images = pixels(0)
    attacked = pgd(plain(lambda x: x.sum()), images, epsilon=0.25, step_size=0.25, steps=0)
    assert torch.equal(attacked, images)
    assert attacked.data_ptr() != images.data_ptr()


def test_starts_are_uniform_in_the_ball() -> None:
    images = torch.full((8, 3, 32, 32), 0.5)
    started = pgd(linear(images), images, epsilon=0.1, step_size=0.1, steps=0, generator=seeded(0))
    offsets = (started - images).flatten().sort().values
    expected = torch.linspace(-0.1, 0.1, len(offsets))
    # Kolmogorov's bound: less than 2 / sqrt(n), of a distribution 0.2 wide.
    assert (offsets - expected).abs().max() < 2 * 0.2 / len(offsets) ** 0.5


def test_starts_stay_in_the_range() -> None:
    started = pgd(linear(pixels(0)), pixels(0).round(), epsilon=0.5, step_size=0.1, steps=0, generator=seeded(0))
    assert started.min() == 0
    assert started.max() == 1


def test_the_generator_alone_decides() -> None:
    def attack(generator: torch.Generator) -> Tensor:
        torch.rand(1)  # not the global one
        return pgd(wavy(40), pixels(0), epsilon=0.2, step_size=0.02, steps=2, restarts=2, generator=generator)

    assert torch.equal(attack(seeded(5)), attack(seeded(5)))
    assert not torch.equal(attack(seeded(5)), attack(seeded(6)))


@pytest.mark.parametrize("shape", [(3, 4, 5), (60,), (1, 2, 3, 2, 5)], ids=["images", "vectors", "films"])
@pytest.mark.parametrize("restarts", [2, 5])
def test_each_image_keeps_its_worst_restart(restarts: int, shape: tuple[int, ...]) -> None:
    images, loss = torch.rand(6, *shape, generator=seeded(0)), wavy(40)
    generator = seeded(3)
    alone = [pgd(loss, images, epsilon=0.2, step_size=0.02, steps=4, generator=generator) for _ in range(restarts)]
    attacked = pgd(loss, images, epsilon=0.2, step_size=0.02, steps=4, restarts=restarts, generator=seeded(3))
    assert attacked.shape == images.shape
    losses = torch.stack([loss.per_image(attempt) for attempt in alone])
    assert torch.equal(loss.per_image(attacked), losses.amax(dim=0))
    # More than one attempt won: the choice was made image by image.
    assert len(losses.argmax(dim=0).unique()) > 1
    for image, winner in enumerate(losses.argmax(dim=0)):
        assert torch.equal(attacked[image], alone[winner][image])


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf")])
@pytest.mark.parametrize("random_start", [False, True])
def test_images_out_of_range_are_refused(value: float, random_start: bool) -> None:
    images = pixels(0)
    images[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"^found images from .*, expected pixel values in \[0, 1\]$"):
        pgd(
            linear(slopes(0)),
            images,
            epsilon=0.1,
            step_size=0.1,
            steps=1,
            generator=seeded(0) if random_start else None,
        )


def test_a_grey_that_rounds_above_white_is_white_under_attack() -> None:
    images = torch.full((1, 1, 1, 1), 1 + 1e-7)
    assert images > 1
    assert pgd(linear(torch.ones(1, 1, 1, 1)), images, epsilon=0.1, step_size=0.1, steps=1) == 1
