"""FastAT's attack in closed form: one step up a linear loss from a random point of the ball."""

import pytest
import torch

from robustprune.attacks import ATTACKS, FastAtSettings, FgsmSettings, configured, fast_at, takes_one_step
from tests.robustprune.attacks.losses import linear, pixels, seeded, slopes

EPSILON = 0.05


@pytest.mark.parametrize(("alpha", "along", "length"), [(1.25, 0.859375, 0.8883), (1.0, 0.75, None), (2.0, 1.0, 1.0)])
def test_how_far_one_step_gets_on_a_linear_loss(alpha: float, along: float, length: float | None) -> None:
    # Away from 0 and 1, so that no pixel is cut. E[δ sign g] / ε = 1 − (2 − α)² / 4.
    images = torch.full((1, 1, 400, 500), 0.5, dtype=torch.float64)
    signs = torch.randint(0, 2, images.shape, generator=seeded(1)).double() * 2 - 1
    delta = fast_at(linear(signs), images, epsilon=EPSILON, alpha=alpha, generator=seeded(0)) - images
    assert float((delta * signs).mean()) / EPSILON == pytest.approx(along, abs=0.004)
    expected = (1 / 3 + alpha**2 / 2 - alpha**3 / 6) ** 0.5
    assert float(delta.norm()) / (EPSILON * images.numel() ** 0.5) == pytest.approx(expected, abs=0.003)
    if length is not None:
        assert expected == pytest.approx(length, abs=5e-5)
    if alpha == 2:
        torch.testing.assert_close(delta, EPSILON * signs)


def test_without_a_radius_images_stay_as_they_are() -> None:
    images, gradient = pixels(0), slopes(0)
    assert torch.equal(fast_at(linear(gradient), images, epsilon=0.0, alpha=1.25, generator=seeded(0)), images)


def test_the_step_follows_the_radius() -> None:
    images, loss = pixels(0), linear(slopes(0))
    for epsilon in (0.01, 0.3):
        found = configured(FastAtSettings(epsilon=epsilon), seeded(3))(loss, images)
        same = FgsmSettings(epsilon=epsilon, step_size=1.25 * epsilon)
        assert torch.equal(found, configured(same, seeded(3))(loss, images))
        assert (found - images).abs().max() <= epsilon + 1e-6
        assert 0 <= found.min() <= found.max() <= 1


def test_which_attacks_training_can_overfit_to() -> None:
    assert {name for name, entry in ATTACKS.items() if entry.single_step} == {"fgsm", "fast-at"}
    assert takes_one_step(FastAtSettings())
