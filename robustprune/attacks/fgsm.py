"""The fast gradient sign method (Goodfellow et al. 2015), by default from a random start (Wong et al. 2020)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from robustprune.attacks.entry import AttackEntry
from robustprune.attacks.loss import AttackLoss
from robustprune.attacks.pgd import pgd
from robustprune.core.settings import Settings


class FgsmSettings(Settings):
    """One step; after a random start 1.25 times the radius is a good length, without one the radius itself."""

    name: Literal["fgsm"] = "fgsm"
    epsilon: float = Field(default=0.05, gt=0, le=1, description="radius of the ball, in pixel values")
    step_size: float = Field(default=0.0625, gt=0, le=1, description="length of the step, in pixel values")
    random_start: bool = True


def fgsm(
    loss: AttackLoss,
    images: Tensor,
    *,
    epsilon: float,
    step_size: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return images one step up `loss`, within `epsilon` of the originals in every pixel; arguments as in `pgd`."""
    return pgd(loss, images, epsilon=epsilon, step_size=step_size, steps=1, generator=generator)


FGSM = AttackEntry(run=fgsm, settings=FgsmSettings, sees="loss")
