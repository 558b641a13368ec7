"""CenterNets by name, as a spec's `detector.config` has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from robustprune.detection.centernet.backbones.published import Dla34, ResNet18
from robustprune.detection.centernet.backbones.small import Small
from robustprune.detection.centernet.network import CenterNet
from robustprune.detection.detector import DetectorBuilder
from robustprune.detection.image_size import ImageSize


def _build(*, backbone: Callable[[], nn.Module], hidden: int, classes: int, image_size: ImageSize) -> CenterNet:
    return CenterNet(backbone(), classes=classes, hidden=hidden, image_size=image_size)


def _entry(backbone: Callable[[], nn.Module], *, hidden: int, image_size: int, of: str) -> DetectorBuilder:
    return DetectorBuilder(
        build=partial(_build, backbone=backbone, hidden=hidden),
        loss_name=CenterNet.loss_name,
        image_size=image_size,
        oblong=True,
        summary=f"CenterNet (Zhou et al. 2019), objects as peaks of a heat map; on {of}",
    )


CENTERNETS = {
    "centernet-small": _entry(Small, hidden=32, image_size=64, of="ten convolutions, for a CPU"),
    "centernet-resnet18": _entry(ResNet18, hidden=64, image_size=512, of="ResNet-18"),
    "centernet-dla34": _entry(Dla34, hidden=256, image_size=512, of="DLA-34, of timm"),
}
"""`hidden` channels and image sizes of the latter two are the published ones."""
