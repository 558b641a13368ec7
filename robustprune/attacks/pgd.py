"""Projected gradient descent in the L∞ ball (Madry et al. 2018), from the image or from random points around it."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from robustprune.attacks.entry import AttackEntry, steps_and_restarts
from robustprune.attacks.loss import AttackLoss
from robustprune.attacks.uniform_start import check_range, uniform_start
from robustprune.attacks.worst import worst
from robustprune.core.operations import FORWARD, AttackWork
from robustprune.core.settings import PIXEL_VALUES, Settings


class PgdSettings(Settings):
    """Projected gradient descent (Madry et al. 2018), by default as the reference study attacks."""

    name: Literal["pgd"] = "pgd"
    epsilon: float = Field(default=0.05, gt=0, le=1, description="radius of the ball", json_schema_extra=PIXEL_VALUES)
    step_size: float = Field(default=0.02, gt=0, le=1, description="length of a step", json_schema_extra=PIXEL_VALUES)
    steps: int = Field(default=5, ge=1, description="gradient steps")
    random_start: bool = Field(default=False, description="start at a random point of the ball, not at the image")
    restarts: int = Field(default=1, ge=1, description="random starts, of which each image keeps its worst")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts is {self.restarts}, expected 1 without random_start: all would end alike")
        return self


def pgd(
    loss: AttackLoss,
    images: Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    restarts: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return images that raise `loss`, within `epsilon` of the originals in every pixel.

    Args:
        loss: to ascend. Freeze the network first (`frozen`). With one restart a plain function will do.
        images: in [0, 1], shape (N, C, H, W).
        epsilon: radius of the ball, in pixel values.
        step_size: length of one step, in pixel values.
        steps: gradient steps.
        restarts: number of attempts, each from another start, of which every image keeps its worst.
        generator: for random starts, on the CPU; without one the attack starts at the images, and once.

    Returns:
        attacked images in [0, 1], same shape, without gradient.

    Raises:
        ValueError: an image is not in [0, 1].

    >>> pgd(lambda images: images.sum(), torch.tensor([[[[0.25, 1.0]]]]), epsilon=0.5, step_size=0.25, steps=3)
    tensor([[[[0.7500, 1.0000]]]])
    """
    check_range(images)
    lower, upper = (images - epsilon).clamp_(0, 1), (images + epsilon).clamp_(0, 1)

    def attempt() -> Tensor:
        if generator is None:
            attacked = images.detach().clone()
        else:
            attacked = uniform_start(images, epsilon=epsilon, generator=generator)
        for _ in range(steps):
            attacked.requires_grad_()
            (gradient,) = torch.autograd.grad(loss(attacked), attacked)
            attacked = torch.addcmul(attacked.detach(), gradient.sign(), gradient.new_full((), step_size))
            attacked = attacked.clamp_(lower, upper)
        return attacked.detach()

    if restarts == 1:
        return attempt()
    assert generator is not None
    return worst(loss, (attempt() for _ in range(restarts)))


def _work(settings: PgdSettings) -> AttackWork:
    """Beside its steps, the loss of each restart is compared with the worst so far."""
    passes, words = steps_and_restarts(settings)
    return AttackWork(passes + (settings.restarts * FORWARD if settings.restarts > 1 else 0), words)


PGD = AttackEntry(run=pgd, settings=PgdSettings, sees="loss", work=_work)
