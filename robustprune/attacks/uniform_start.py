"""Where an attack with a random start begins."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform_start(images: Tensor, *, epsilon: float, generator: torch.Generator) -> Tensor:
    """Return images plus noise, uniform in the L∞ ball, cut at 0 and 1.

    Args:
        images: in [0, 1], any shape.
        epsilon: radius of the ball, in pixel values.
        generator: on the CPU; a single number is drawn from it, the noise is made where the images are.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    noise = torch.rand(
        images.shape,
        generator=torch.Generator(images.device).manual_seed(seed),
        device=images.device,
        dtype=images.dtype,
    )
    return (images.detach() + epsilon * (2 * noise - 1)).clamp_(0, 1)
