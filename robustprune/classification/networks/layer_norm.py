"""Layer norm over the channels that are there, so that masking a channel is as good as removing it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PrunableLayerNorm(nn.LayerNorm):
    """Layer norm that leaves channels whose scale and shift are both zero out of the mean and the variance.

    A channel that is masked carries zeros, and plain layer norm would go on counting them among those that it averages
    over. With no such channel it computes what plain layer norm does, and its parameters have the same names.

    Shape: (…, C) to (…, C).
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        """Normalise over the last dimension, of so many `channels`."""
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised input, zero where a channel has left."""
        present = (self.weight != 0) | (self.bias != 0)
        # Shapes without numbers have none to look at; a program that is compiled or exported cannot look.
        if self.weight.is_meta or (not torch.compiler.is_compiling() and bool(present.all())):
            return super().forward(x)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        counted = present.to(x.dtype) / present.sum().clamp(min=1)
        mean = (x * counted).sum(dim=-1, keepdim=True)
        centred = x - mean
        variance = (centred.square() * counted).sum(dim=-1, keepdim=True)
        return centred * (variance + self.eps).rsqrt() * self.weight + self.bias
