"""The fast adaptive boundary attack in L∞ (FAB, Croce & Hein 2020), aimed at a class at a time, through adv-lib.

It looks for the least perturbation; here it is asked whether that is within a ball.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from robustprune.attacks.adversarial_library.library import Network, check_installed, library_attack
from robustprune.attacks.entry import AttackEntry
from robustprune.attacks.uniform_start import check_range
from robustprune.core.operations import FORWARD, INPUT_GRADIENT, AttackWork, counted
from robustprune.core.randomness import drawing_from
from robustprune.core.settings import PIXEL_VALUES, Settings


class FabSettings(Settings):
    """The fast adaptive boundary attack (Croce & Hein 2020) within a ball, by default as AutoAttack runs it."""

    name: Literal["fab"] = "fab"
    epsilon: float = Field(gt=0, le=1, description="radius of the ball", json_schema_extra=PIXEL_VALUES)
    steps: int = Field(default=100, ge=1, description="gradient steps, per class aimed at")
    targets: int = Field(default=9, ge=1, description="classes to aim at, one by one, the likeliest first")


def fab(
    network: Network,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    steps: int,
    targets: int,
    generator: torch.Generator,
) -> Tensor:
    """Return images that fool `network` in the L∞ ball; the original where FAB's least perturbation is outside.

    Args:
        network: to attack; freeze it first (`frozen`).
        images: in [0, 1], shape (N, C, H, W).
        labels: (N,).
        epsilon: radius of the ball, in pixel values.
        steps: towards each class.
        targets: classes to aim at; where there are fewer, some again, from random starts.
        generator: for the random starts, on the CPU.

    Raises:
        ValueError: an image is not in [0, 1].
    """
    check_range(images)
    with drawing_from(generator, images.device):
        attacked = library_attack("fab")(
            network, images.contiguous(), labels, norm=math.inf, n_iter=steps, targeted_restarts=True, restarts=targets
        )
    inside = (attacked - images).abs().flatten(1).amax(dim=1) <= epsilon
    return torch.where(inside.view(-1, 1, 1, 1), attacked, images).detach()


def _work(settings: FabSettings) -> AttackWork:
    # Of each class a forward first; in each step a forward and a backward pass, and a forward to see whether it fools.
    passes = FORWARD + settings.targets * (FORWARD + settings.steps * (2 * FORWARD + INPUT_GRADIENT))
    return AttackWork(passes, f"{settings.targets} × {counted(settings.steps, 'attack step')}")


FAB = AttackEntry(
    run=fab, settings=FabSettings, sees="logits", work=_work, check=lambda settings, classes: check_installed()
)
