"""FastAT's attack (Wong, Rice & Kolter 2020): one step from a random start, whose length follows the radius."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from robustprune.attacks.entry import AttackEntry
from robustprune.attacks.fgsm import fgsm
from robustprune.attacks.loss import AttackLoss
from robustprune.core.settings import PIXEL_VALUES, Settings


class FastAtSettings(Settings):
    """One step by the gradient's sign from a random start, 1.25 radii long: the cheapest attack to train under."""

    name: Literal["fast-at"] = "fast-at"
    epsilon: float = Field(default=0.05, gt=0, le=1, description="radius of the ball", json_schema_extra=PIXEL_VALUES)
    alpha: float = Field(default=1.25, gt=0, le=2, description="length of the step, in radii; 2 crosses the whole ball")


def fast_at(
    loss: AttackLoss, images: Tensor, *, epsilon: float, alpha: float, generator: torch.Generator | None = None
) -> Tensor:
    """Return images one step of `alpha` radii up `loss`, from a random point of the ball; arguments as in `pgd`."""
    return fgsm(loss, images, epsilon=epsilon, step_size=alpha * epsilon, generator=generator)


FAST_AT = AttackEntry(run=fast_at, settings=FastAtSettings, sees="loss", single_step=True)
