"""What an attack ascends."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class AttackLoss(Protocol):
    """The loss of a batch as a function of its images alone, the network being frozen."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return the scalar loss of (N, C, H, W), with its graph."""

    def per_image(self, images: Tensor) -> Tensor:
        """Return the loss of each image by itself, (N,), without graph; only attacks with restarts ask."""
