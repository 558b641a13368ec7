"""A backbone for images of 64 pixels and processors without a GPU: ten convolutions, maps of 4, 8 and 16 pixels."""

from __future__ import annotations

from torch import Tensor, nn

from robustprune.detection.centernet.backbones.layers import Residual, convolution


class Small(nn.Module):
    """Each stage halves the image by a strided convolution, and goes on with a residual block."""

    widths = (32, 48, 64)

    def __init__(self) -> None:
        """Take weights from torch's generator."""
        super().__init__()
        self.stem = convolution(3, 16, stride=2)
        inputs = (16, *self.widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(convolution(before, width, stride=2), Residual(width))
            for before, width in zip(inputs, self.widths, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images (N, 3, H, W)."""
        features, maps = self.stem(images), []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps
