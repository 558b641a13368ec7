"""What backbones and up-paths are made of."""

from __future__ import annotations

from torch import Tensor, nn


def convolution(inputs: int, filters: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, filters, size, stride=stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """Two convolutions whose output is added to what they read."""

    def __init__(self, channels: int) -> None:
        """Keep the number of channels."""
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the shape of x."""
        output: Tensor = self.relu(x + self.second(self.first(x)))
        return output
