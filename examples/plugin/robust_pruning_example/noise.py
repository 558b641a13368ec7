"""Noise, the weakest of attacks, to compare others with. An attack in a few lines."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from robustprune.attacks import AttackEntry, AttackLoss
from robustprune.core.operations import AttackWork
from robustprune.core.settings import Settings


class NoiseSettings(Settings):
    """How far a pixel moves at most."""

    name: Literal["noise"] = "noise"
    epsilon: float = Field(default=0.05, gt=0, le=1, description="radius of the ball, in pixel values")


def noise(loss: AttackLoss, images: Tensor, *, epsilon: float, generator: torch.Generator | None) -> Tensor:
    """Return images with noise that is uniform in the ball."""
    moved = (2 * torch.rand(images.shape, generator=generator) - 1).to(images) * epsilon
    return (images.detach() + moved).clamp(0, 1)


NOISE = AttackEntry(run=noise, settings=NoiseSettings, sees="loss", work=lambda settings: AttackWork(0, "noise"))
