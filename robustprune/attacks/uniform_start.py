"""Where an attack begins: at images in [0, 1], or at random points around them."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDING = 1e-5
"""What arithmetic on pixels may add: greys are sums of three colours."""


def check_range(images: Tensor) -> None:
    """Check that images are in [0, 1]: of others, no attack could stay near and come out in that range.

    Raises:
        ValueError: one is not, or is NaN.
    """
    if images.numel():
        least, most = images.detach().aminmax()
        if not (float(least) >= -_ROUNDING and float(most) <= 1 + _ROUNDING):
            raise ValueError(f"found images from {float(least):g} to {float(most):g}, expected pixel values in [0, 1]")


def uniform_noise(images: Tensor, *, epsilon: float, generator: torch.Generator) -> Tensor:
    """Return noise in the shape of some images, uniform in the L∞ ball; arguments as in `uniform_start`."""
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    noise = torch.rand(
        images.shape,
        generator=torch.Generator(images.device).manual_seed(seed),
        device=images.device,
        dtype=images.dtype,
    )
    return epsilon * (2 * noise - 1)


def uniform_start(images: Tensor, *, epsilon: float, generator: torch.Generator) -> Tensor:
    """Return images plus noise, uniform in the L∞ ball, cut at 0 and 1.

    Args:
        images: in [0, 1], any shape.
        epsilon: radius of the ball, in pixel values.
        generator: on the CPU; a single number is drawn from it, the noise is made where the images are.
    """
    return (images.detach() + uniform_noise(images, epsilon=epsilon, generator=generator)).clamp_(0, 1)
