"""How alike a network's gradients are at an image and beside it, and GradAlign, which trains them to be alike.

Where a single step fools a network less than several steps do (catastrophic overfitting), they no longer are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from robustprune.attacks.uniform_start import uniform_noise
from robustprune.core.operations import FORWARD, INPUT_GRADIENT, STATISTICS
from robustprune.core.settings import Settings

PASSES = STATISTICS + 4 * (FORWARD + INPUT_GRADIENT)
"""Forward passes' worth of work of the term, per image: both gradients, and of the second one its own, which goes back
through a forward and a backward pass."""


class GradAlign(Settings):
    """A term weight (1 − mean cos(∇L(x), ∇L(x + η))), η uniform in the ball (Andriushchenko & Flammarion 2020)."""

    weight: float | None = Field(
        default=None,
        ge=0,
        description="of the term, beside the loss; null: exp(255 epsilon ln(10) / 8 + ln 0.02), found on CIFAR-10: 0.2 "
        "at a radius of 8/255",
    )

    def weight_at(self, epsilon: float) -> float:
        """Return the weight under attacks of some radius, in pixel values."""
        return default_weight(epsilon) if self.weight is None else self.weight


def default_weight(epsilon: float) -> float:
    """Return λ(ε), in pixel values, that Andriushchenko & Flammarion fitted on CIFAR-10.

    >>> round(default_weight(8 / 255), 6), round(default_weight(16 / 255), 6)
    (0.2, 2.0)
    """
    return math.exp(epsilon * 255 * math.log(10) / 8 + math.log(0.02))


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The term, with numbers.

    Attributes:
        weight: λ.
        epsilon: radius of the ball that η is drawn from, in pixel values.
        generator: on the CPU; the only source of randomness.
    """

    weight: float
    epsilon: float
    generator: torch.Generator

    def __call__(self, loss: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Return λ (1 − mean cos), whose gradient goes through the second of the two gradients alone.

        Args:
            loss: the sum of images' losses, as a function of these, with its graph.
            images: (N, …).
        """
        noise = uniform_noise(images, epsilon=self.epsilon, generator=self.generator)
        return self.weight * misalignment(loss, images, noise)


def misalignment(loss: Callable[[Tensor], Tensor], images: Tensor, noise: Tensor) -> Tensor:
    """Return 1 − mean cos(∇L(x), ∇L(x + η)), a scalar; 0 where no image has both gradients. See `cosines`."""
    found = cosines(loss, images, noise, differentiable=True)
    return 1 - found.mean() if len(found) else found.sum()


def cosines(loss: Callable[[Tensor], Tensor], images: Tensor, noise: Tensor, *, differentiable: bool = False) -> Tensor:
    """Return cos(∇L(x), ∇L(x + η)) of each image whose gradients are both not zero, (≤ N,).

    Args:
        loss: the sum of images' losses, as a function of these.
        images: (N, …), x.
        noise: of the same shape, η.
        differentiable: let gradients go through the second of the two gradients; never through the first.
    """
    first, second = (
        _gradient(loss, at, differentiable=kept)
        for at, kept in ((images.detach(), False), (images.detach() + noise, differentiable))
    )
    # Left out before anything is divided: the norm of a zero has no gradient.
    both = first.ne(0).any(dim=1) & second.ne(0).any(dim=1)
    # Squares of what sure answers leave of a gradient would be zero.
    first, second = (each[both] / each[both].detach().abs().amax(dim=1, keepdim=True) for each in (first, second))
    return torch.cosine_similarity(first, second, dim=1)


def _gradient(loss: Callable[[Tensor], Tensor], at: Tensor, *, differentiable: bool) -> Tensor:
    """Return the gradient of each image, (N, values)."""
    at = at.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(at), at, create_graph=differentiable)
    return gradient.flatten(1)
