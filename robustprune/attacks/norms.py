"""The four norms that perturbations are measured in."""

from __future__ import annotations

import math

from torch import Tensor

NORMS: dict[str, float] = {"l0": 0, "l1": 1, "l2": 2, "linf": math.inf}
"""Their orders, by name.

L0 counts values, of all channels: a pixel that changes its colour counts up to three times. The others are in pixel
values, black to white being 1.
"""


def distances(images: Tensor, others: Tensor) -> dict[str, Tensor]:
    """Return by norm how far images are from others, both (N, C, H, W); float64, shape (N,)."""
    difference = (images.double() - others.double()).flatten(1)
    return {norm: difference.norm(p=order, dim=1) for norm, order in NORMS.items()}
