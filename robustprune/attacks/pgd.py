"""Projected gradient descent in the L∞ ball (Madry et al. 2018), without random start."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def pgd(loss: Callable[[Tensor], Tensor], images: Tensor, *, epsilon: float, step_size: float, steps: int) -> Tensor:
    """Return images that raise `loss`, within `epsilon` of the originals in every pixel.

    Args:
        loss: scalar to ascend, a function of the images alone. Freeze the network first (`frozen`).
        images: in [0, 1], any shape.
        epsilon: radius of the ball, in pixel values.
        step_size: length of one step, in pixel values.
        steps: gradient steps.

    Returns:
        attacked images in [0, 1], same shape, without gradient.
    """
    lower, upper = (images - epsilon).clamp_(0, 1), (images + epsilon).clamp_(0, 1)
    attacked = images.detach().clone()
    for _ in range(steps):
        attacked.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(attacked), attacked)
        attacked = torch.addcmul(attacked.detach(), gradient.sign(), gradient.new_tensor(step_size))
        attacked = attacked.clamp_(lower, upper)
    return attacked.detach()
