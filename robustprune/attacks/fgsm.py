"""The fast gradient sign method (Goodfellow et al. 2015), by default from a random start (Wong et al. 2020)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from robustprune.attacks.entry import AttackEntry
from robustprune.attacks.loss import AttackLoss
from robustprune.attacks.pgd import pgd
from robustprune.core.settings import PIXEL_VALUES, Settings


class FgsmSettings(Settings):
    """One step by the gradient's sign: 1.25 times the radius is a good length after a random start, else the radius."""

    name: Literal["fgsm"] = "fgsm"
    epsilon: float = Field(default=0.05, gt=0, le=1, description="radius of the ball", json_schema_extra=PIXEL_VALUES)
    step_size: float = Field(
        default=0.0625, gt=0, le=1, description="length of the step", json_schema_extra=PIXEL_VALUES
    )
    random_start: bool = Field(default=True, description="start at a random point of the ball, not at the image")


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


FGSM = AttackEntry(run=fgsm, settings=FgsmSettings, sees="loss", single_step=True)
