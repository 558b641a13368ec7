"""How images are changed at random while a classifier is trained."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

SHIFT = 8
"""Images are shifted by up to an eighth of their side to augment them: 4 of 32 pixels, as is usual for CIFAR-10."""


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (N, 3, S, S), each mirrored or not, and shifted by up to S/8 pixels; beyond the edge is black."""
    count, _, _, size = images.shape
    most = size // SHIFT
    mirrored = torch.rand(count, generator=generator) < 0.5
    top, left = torch.randint(2 * most + 1, (2, count, 1), generator=generator)
    rows, columns = top + torch.arange(size), left + torch.arange(size)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = pad(images, [most] * 4)
    each = torch.arange(count)[:, None, None]
    # Advanced indices apart from the channels put these last.
    return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
