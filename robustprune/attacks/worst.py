"""The worst of several attacks on the same images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from robustprune.attacks.loss import AttackLoss


def worst(loss: AttackLoss, attempts: Iterable[Tensor]) -> Tensor:
    """Return of each image the attempt with the highest loss, the first among equals.

    Args:
        loss: compared image by image: a batch's own loss could hide a weak attempt on one image behind others.
        attempts: attacked images, (N, …) each; one is held beside the worst so far.
    """
    rest = iter(attempts)
    found = next(rest)
    highest = loss.per_image(found)
    for attempt in rest:
        losses = loss.per_image(attempt)
        found = torch.where((losses > highest).view(-1, *[1] * (attempt.ndim - 1)), attempt, found)
        highest = torch.maximum(losses, highest)
    return found
