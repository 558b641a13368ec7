"""The backbones of the published CenterNet: ResNet-18 as torchvision has it, and DLA-34 as timm has it.

Their `published` says what their parts are called there; see `given`.
"""

from __future__ import annotations

import importlib.util
from typing import Any, ClassVar

from torch import Tensor, nn

from robustprune.core.errors import InputError


class ResNet18(nn.Module):
    """ResNet-18 (He et al. 2016), the maps of its four stages."""

    widths = (64, 128, 256, 512)
    published: ClassVar = {
        "stem.0": "conv1",
        "stem.1": "bn1",
        **{f"stages.{index}": f"layer{index + 1}" for index in range(4)},
    }

    def __init__(self) -> None:
        """Take weights from torch's generator."""
        from torchvision.models import resnet18  # takes as long to import as PyTorch; planning does without

        super().__init__()
        whole = resnet18(weights=None)
        self.stem = nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool)
        self.stages = nn.ModuleList([whole.layer1, whole.layer2, whole.layer3, whole.layer4])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images (N, 3, H, W)."""
        features, maps = self.stem(images), []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps


class Dla34(nn.Module):
    """DLA-34 (Yu et al. 2018), the maps of its last four levels."""

    widths = (64, 128, 256, 512)
    published: ClassVar = {
        "stem.0": "base_layer",
        "stem.1": "level0",
        "stem.2": "level1",
        **{f"levels.{index}": f"level{index + 2}" for index in range(4)},
    }

    def __init__(self) -> None:
        """Take weights from torch's generator.

        Raises:
            InputError: timm is not installed.
        """
        if importlib.util.find_spec("timm") is None:
            raise InputError(
                "centernet-dla34 needs timm, found no such package; pip install 'robust-pruning-sweeps[timm]'"
            )
        import timm

        super().__init__()
        whole: Any = timm.create_model("dla34", pretrained=False)
        self.stem = nn.Sequential(whole.base_layer, whole.level0, whole.level1)
        self.levels = nn.ModuleList([whole.level2, whole.level3, whole.level4, whole.level5])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images (N, 3, H, W)."""
        features, maps = self.stem(images), []
        for level in self.levels:
            features = level(features)
            maps.append(features)
        return maps
