"""The loss of CenterNet: focal loss of the heat map + offsets at centres + 0.1 · sizes there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustprune.detection.centernet.radius import exact_radius, published_radius
from robustprune.detection.centernet.targets import Radius, Targets

POINTS = "points"
"""The family of detectors that find objects as peaks of heat maps."""

LEAST = 1e-4
"""Probabilities are kept this far from 0 and 1, and from there have no gradient."""

OFFSET_WEIGHT, SIZE_WEIGHT = 1.0, 0.1


@dataclass(frozen=True)
class PointLoss:
    """The loss for targets whose Gaussians are as wide as a radius says.

    Attributes:
        radius: see `radius`.
        summary: what it is, in a line.
        family: of the detectors that it is for.
    """

    radius: Radius
    summary: str
    family: str = POINTS

    def __call__(self, outputs: Sequence[Tensor], targets: Targets, *, per_image: bool = False) -> Tensor:
        """Return the loss of a batch, a scalar ≥ 0, or that of each image as if it were the whole batch, (N,).

        Args:
            outputs: raw heat map (N, classes, H, W), offsets (N, 2, H, W) and sizes (N, 2, H, W) in cells.
            targets: of the same images.
            per_image: divide by the objects of each image.
        """
        heat, offset, size = outputs
        centres, blank = (targets.heat == 1).flatten(1).sum(dim=1), heat.new_zeros(len(heat))
        place = targets.image, slice(None), targets.row, targets.column
        values = blank.index_add(0, targets.image, blank.new_full(targets.image.shape, 2.0))
        found = focal(heat.sigmoid().clamp(LEAST, 1 - LEAST), targets.heat)
        away = [
            blank.index_add(0, targets.image, (output[place] - wanted).abs().sum(dim=1))
            for output, wanted in ((offset, targets.offset), (size, targets.size))
        ]
        if not per_image:
            centres, values, found = centres.sum(), values.sum(), found.sum()
            away = [each.sum() for each in away]
        offsets, sizes = (each / (values + 1e-4) for each in away)
        return found / centres.clamp(min=1) + OFFSET_WEIGHT * offsets + SIZE_WEIGHT * sizes


def focal(probabilities: Tensor, wanted: Tensor) -> Tensor:
    """Return the focal loss of each heat map, summed over its classes and cells, (N,).

    −(1 − p)² log p where 1 is wanted, −(1 − Y)⁴ p² log(1 − p) elsewhere (Law & Deng 2018; Lin et al. 2017).

    >>> focal(torch.tensor([[0.8, 0.3]]), torch.tensor([[1.0, 0.5]])).item()  # doctest: +ELLIPSIS
    0.01093...

    Args:
        probabilities: p in (0, 1), (N, …).
        wanted: Y in [0, 1], likewise.
    """
    absent = 1 - probabilities
    at_centres = absent.square() * probabilities.log()
    elsewhere = (1 - wanted) ** 4 * probabilities.square() * absent.log()
    return -torch.where(wanted == 1, at_centres, elsewhere).flatten(1).sum(dim=1)


FOCAL = PointLoss(published_radius, "Of CenterNets, as published: focal loss of the heat map, offsets, 0.1 · sizes.")
"""With the Gaussians of the published code: the default, as its numbers are had with them."""

FOCAL_EXACT = PointLoss(exact_radius, "The same, with Gaussians as narrow as an IoU of .7 asks for.")
"""With Gaussians as wide as the IoU that they stand for says."""
