"""How far a centre may be off before its box overlaps the object too little: what the Gaussians of targets are wide by.

Three ways in which a box may be off are looked at, and the least radius counts: both corners move by (r, r) in one
direction, both move inwards, or both move outwards.
"""

from __future__ import annotations

import torch
from torch import Tensor

OVERLAP = 0.7
"""IoU that a box of the right size, or of the right centre, is to have with the object's at least."""


def exact_radii(height: Tensor, width: Tensor, *, overlap: float = OVERLAP) -> Tensor:
    """Return the radii at which boxes have just that IoU: (3, …), of boxes that are shifted, shrunk and grown.

    Args:
        height: of the objects' boxes, in any unit.
        width: likewise.
        overlap: in (0, 1).
    """
    total, area = height + width, height * width
    shifted = (total - (total**2 - 4 * area * (1 - overlap) / (1 + overlap)).sqrt()) / 2
    shrunk = (2 * total - (4 * total**2 - 16 * (1 - overlap) * area).sqrt()) / 8
    growing = 4 * overlap**2 * total**2 + 16 * overlap * (1 - overlap) * area
    grown = (growing.sqrt() - 2 * overlap * total) / (8 * overlap)
    return torch.stack([shifted, shrunk, grown])


def exact_radius(height: Tensor, width: Tensor) -> Tensor:
    """Return the least of `exact_radii`."""
    return exact_radii(height, width).amin(dim=0)


def published_radius(height: Tensor, width: Tensor) -> Tensor:
    """Return the radius of the published code, with which its numbers were had: two to four times the exact one.

    It solves the same three equations, takes the larger roots of two, and divides by 2 where it should by 2a (Zhou et
    al. 2019, `gaussian_radius`, after Law & Deng, CornerNet, 2018).
    """
    total, area = height + width, height * width
    shifted = (total + (total**2 - 4 * area * (1 - OVERLAP) / (1 + OVERLAP)).sqrt()) / 2
    shrunk = (2 * total + (4 * total**2 - 16 * (1 - OVERLAP) * area).sqrt()) / 2
    growing = 4 * OVERLAP**2 * total**2 + 16 * OVERLAP * (1 - OVERLAP) * area
    grown = (growing.sqrt() - 2 * OVERLAP * total) / 2
    return torch.stack([shifted, shrunk, grown]).amin(dim=0)
