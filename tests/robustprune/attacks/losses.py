"""Losses that attacks are tested on: of plain functions of the images, with or without batches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from robustprune.attacks import AttackLoss

LEVELS = 256
"""Pixels, radii and steps are multiples of 1/256 where results must be exact: such sums do not round."""


@dataclass
class PerImage:
    """The loss whose value for each image of a batch is `function(images)`, shape (N,)."""

    function: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor) -> Tensor:
        return self.function(images).sum()

    def per_image(self, images: Tensor) -> Tensor:
        return self.function(images).detach()


def plain(function: Callable[[Tensor], Tensor]) -> AttackLoss:
    """Return a plain function of the batch as it is, which will do for attacks without restarts."""
    return cast(AttackLoss, function)


def linear(slopes: Tensor) -> PerImage:
    """Return the sum of pixels times `slopes`."""
    return PerImage(lambda images: (images * slopes).flatten(1).sum(dim=1))


def wavy(frequency: float) -> PerImage:
    """Return a loss with many local maxima: where an attack ends depends on where it starts."""
    return PerImage(lambda images: ((frequency * images).sin() * images).flatten(1).sum(dim=1))


def pixels(seed: int) -> Tensor:
    return torch.randint(0, LEVELS + 1, (2, 3, 4, 5), generator=seeded(seed)) / LEVELS


def slopes(seed: int) -> Tensor:
    """Return a gradient that is positive, negative or zero."""
    return torch.randint(-2, 3, (2, 3, 4, 5), generator=seeded(seed + 1)).float()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
