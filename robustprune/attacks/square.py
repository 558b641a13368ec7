"""The Square attack in L∞ (Andriushchenko et al. 2020): random search by answers alone, for networks whose gradients
lead nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from robustprune.attacks.entry import AttackEntry
from robustprune.attacks.uniform_start import check_range
from robustprune.core.operations import FORWARD, AttackWork
from robustprune.core.settings import PIXEL_VALUES, Settings

LARGEST = 0.8
"""Share of an image that the first squares cover, as in AutoAttack."""

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After so many of 10,000 queries the share is halved; shorter searches have their halvings earlier in proportion."""


class SquareSettings(Settings):
    """Random search without gradients (Andriushchenko et al. 2020), by default as long as in AutoAttack."""

    name: Literal["square"] = "square"
    epsilon: float = Field(gt=0, le=1, description="radius of the ball", json_schema_extra=PIXEL_VALUES)
    queries: int = Field(default=5000, ge=1, description="answers that the network is asked for, of each image")


@torch.no_grad()
def square(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    queries: int,
    generator: torch.Generator,
) -> Tensor:
    """Return images that fool `network`, within `epsilon` of the originals in every pixel.

    From vertical stripes on, a square of every image at a time goes to one of the ball's corners, and stays there where
    that lowers the margin of the true logit over the largest other. The squares are the same for all images, so that
    none depends on its neighbours.

    Args:
        network: to attack; freeze it first (`frozen`).
        images: in [0, 1], shape (N, C, H, W).
        labels: (N,).
        epsilon: radius of the ball, in pixel values.
        queries: forward passes, fewer where all images are fooled before.
        generator: on the CPU.

    Returns:
        attacked images in [0, 1], same shape.

    Raises:
        ValueError: an image is not in [0, 1].
    """
    check_range(images)
    # One number is drawn from it whatever happens here: how soon a batch is fooled changes nothing for the next.
    generator = torch.Generator().manual_seed(int(torch.randint(2**63 - 1, (), generator=generator)))
    lower, upper = (images - epsilon).clamp_(0, 1), (images + epsilon).clamp_(0, 1)
    channels, height, width = images.shape[1:]

    def ends(*shape: int) -> Tensor:
        """Return −1 or 1, at random."""
        return (2 * torch.randint(2, shape, generator=generator) - 1).to(images.device, images.dtype)

    found = torch.clamp(images + epsilon * ends(1, channels, 1, width), lower, upper)
    least = margins(network(found), labels)
    for query in range(1, queries):
        if (least < 0).all():
            break
        side = max(1, min(height, width, round(math.sqrt(_share(query, queries) * height * width))))
        top, left = (int(torch.randint(free - side + 1, (), generator=generator)) for free in (height, width))
        tried = found.clone()
        place = (..., slice(top, top + side), slice(left, left + side))
        tried[place] += 2 * epsilon * ends(1, channels, 1, 1)
        tried = torch.clamp(tried, lower, upper)
        reached = margins(network(tried), labels)
        # What fools already stays: the margin says no more.
        better = (reached < least) & (least >= 0)
        found = torch.where(better.view(-1, 1, 1, 1), tried, found)
        least = torch.where(better, reached, least)
    return found


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the true logit is above the largest other, (N,); logits are (N, classes)."""
    true = functional.one_hot(labels, logits.shape[1]).bool()
    return logits[true] - logits.masked_fill(true, -math.inf).amax(dim=1)


def _share(query: int, queries: int) -> float:
    passed = 10_000 * query // queries
    return LARGEST / 2.0 ** sum(passed > each for each in HALVINGS)


def _work(settings: Any) -> AttackWork:
    return AttackWork(settings.queries * FORWARD, f"{settings.queries:,} queries")


SQUARE = AttackEntry(run=square, settings=SquareSettings, sees="logits", work=_work)
