"""What every attack promises: its bounds, and that nobody but the result learns of it."""

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from robustprune.attacks import (
    ATTACKS,
    Attack,
    AttackSettings,
    PgdSettings,
    attack_work,
    configured,
    fast_at,
    fgsm,
    pgd,
)
from tests.robustprune.attacks.losses import LEVELS, PerImage, linear, pixels, seeded, slopes, wavy

VARIANTS: list[dict[str, Any]] = [
    {"name": "pgd", "steps": 3},
    {"name": "pgd", "steps": 2, "random_start": True},
    {"name": "pgd", "steps": 2, "random_start": True, "restarts": 3},
    {"name": "fgsm"},
    {"name": "fgsm", "random_start": False},
    {"name": "fast-at"},
]
SETTINGS: TypeAdapter[Any] = TypeAdapter(AttackSettings)


def attack(settings: dict[str, Any], *, epsilon: float = 0.05, step_size: float = 0.0625) -> Attack:
    # The step of FastAT's is told in radii.
    step = {"alpha": min(2.0, step_size / epsilon)} if settings["name"] == "fast-at" else {"step_size": step_size}
    validated = SETTINGS.validate_python({**settings, "epsilon": epsilon, **step})
    return configured(validated, seeded(0))


@pytest.mark.parametrize("variant", VARIANTS)
@given(epsilon=st.floats(0.001, 1), step_size=st.floats(0.001, 1), frequency=st.floats(1, 50))
def test_no_pixel_leaves_the_ball_or_the_range(
    variant: dict[str, Any], epsilon: float, step_size: float, frequency: float
) -> None:
    images = torch.rand(2, 3, 4, 5, generator=seeded(0))
    attacked = attack(variant, epsilon=epsilon, step_size=step_size)(wavy(frequency), images)
    assert attacked.shape == images.shape
    assert ((attacked - images).abs() <= epsilon + 1e-7).all()
    assert attacked.min() >= 0
    assert attacked.max() <= 1


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_the_images_are_left_alone(variant: dict[str, Any], needs_gradient: bool) -> None:
    images = pixels(0).requires_grad_(needs_gradient)
    before = images.detach().clone()
    attacked = attack(variant)(wavy(3), images)
    assert not attacked.requires_grad
    assert attacked.grad_fn is None
    assert images.grad is None
    assert images.requires_grad is needs_gradient
    assert torch.equal(images, before)
    assert not torch.equal(attacked, before)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_linear_loss_rises(variant: dict[str, Any]) -> None:
    images, loss = pixels(0), linear(slopes(0))
    assert (loss.per_image(attack(variant)(loss, images)) > loss.per_image(images)).all()


@given(epsilon=st.integers(1, LEVELS).map(lambda level: level / LEVELS), seed=st.integers(0, 9))
def test_one_step_is_the_optimum_of_a_linear_loss(epsilon: float, seed: int) -> None:
    images, gradient = pixels(seed), slopes(seed)
    optimum = (images + epsilon * gradient.sign()).clamp(0, 1)
    assert torch.equal(fgsm(linear(gradient), images, epsilon=epsilon, step_size=epsilon), optimum)
    # From a random start the step must cross the whole ball.
    crossed = fgsm(linear(gradient), images, epsilon=epsilon, step_size=2 * epsilon, generator=seeded(seed))
    assert torch.equal(crossed[gradient != 0], optimum[gradient != 0])


def test_names_and_defaults() -> None:
    assert {"pgd": pgd, "fgsm": fgsm, "fast-at": fast_at} == {
        name: each.run for name, each in ATTACKS.items() if each.sees == "loss"
    }
    assert SETTINGS.validate_python({}) == PgdSettings()
    assert SETTINGS.validate_python({"epsilon": 0.1}) == PgdSettings(epsilon=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "ddn"}, "does not match any of the expected tags"),
        ({"name": "fgsm", "steps": 2}, "steps"),
        ({"name": "fast-at", "alpha": 2.1}, "less than or equal to 2"),
        ({"restarts": 2}, "restarts is 2, expected 1 without random_start"),
        ({"random_start": True, "restarts": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SETTINGS.validate_python(settings)


def test_without_random_starts_no_random_number_is_drawn() -> None:
    generator = seeded(7)
    before = generator.get_state()
    deterministic = configured(PgdSettings(epsilon=0.1, step_size=0.05, steps=2), generator)
    expected = partial(pgd, epsilon=0.1, step_size=0.05, steps=2)
    assert torch.equal(deterministic(wavy(9), pixels(0)), expected(wavy(9), pixels(0)))
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_work_is_that_of_the_passes_made(variant: dict[str, Any]) -> None:
    passes = 0

    def counted(images: Tensor) -> Tensor:
        nonlocal passes
        passes += 1 + images.requires_grad  # forwards, and back where a gradient is taken
        return wavy(3).function(images)

    settings = SETTINGS.validate_python(variant)
    configured(settings, seeded(0))(PerImage(counted), pixels(0))
    assert attack_work(settings).passes == passes
