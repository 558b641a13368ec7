"""Norms that tell which channels are there: one that is masked has a scale and a shift of zero, and nothing of it may
reach what follows, for masking to be as good as removing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def present_channels(norm: nn.LayerNorm | nn.BatchNorm2d) -> Tensor:
    """Return which of a norm's channels are there, (C,), boolean: those whose scale or shift is not zero."""
    return (norm.weight != 0) | (norm.bias != 0)


def is_whole(norm: nn.LayerNorm | nn.BatchNorm2d) -> bool:
    """Say whether all of a norm's channels are there; also where that cannot be seen."""
    # Shapes without numbers have none to look at.
    return norm.weight.is_meta or bool(present_channels(norm).all())


class PrunableLayerNorm(nn.LayerNorm):
    """Layer norm whose mean and variance are those of the channels that are there.

    A channel that is masked carries zeros, and plain layer norm would go on counting them among those that it averages
    over. With all channels there it computes what plain layer norm does, and its parameters have the same names.

    Shape: (…, C) to (…, C).
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        """Normalise over the last dimension, of so many `channels`."""
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised input, zero where a channel has left."""
        # A program that is compiled or exported cannot look, and takes the way that is always right.
        if not torch.compiler.is_compiling() and is_whole(self):
            return super().forward(x)
        present = present_channels(self)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        counted = present.to(x.dtype) / present.sum().clamp(min=1)
        mean = (x * counted).sum(dim=-1, keepdim=True)
        centred = x - mean
        variance = (centred.square() * counted).sum(dim=-1, keepdim=True)
        return centred * (variance + self.eps).rsqrt() * self.weight + self.bias
