"""Counting the pixels that an attack had nothing to go by for."""

from functools import partial

import torch

from robustprune.attacks import ZeroGradients, pgd
from tests.robustprune.attacks.losses import linear, pixels, seeded, slopes, wavy


def test_zeros_are_counted_over_all_steps_and_images() -> None:
    gradient = slopes(0)
    zeros = ZeroGradients()
    assert zeros.share == 0
    watched = zeros.watch(partial(pgd, epsilon=0.1, step_size=0.05, steps=3))
    watched(linear(gradient), pixels(0))
    assert zeros.share == (gradient == 0).double().mean().item()
    watched(linear(torch.ones(2, 3, 4, 5)), pixels(1))
    assert zeros.share == (gradient == 0).double().mean().item() / 2


def test_watching_changes_nothing() -> None:
    def attack(watch: bool) -> torch.Tensor:
        plain = partial(pgd, epsilon=0.1, step_size=0.05, steps=2, restarts=3, generator=seeded(0))
        return (ZeroGradients().watch(plain) if watch else plain)(wavy(40), pixels(0))

    assert torch.equal(attack(True), attack(False))
