"""torchvision's networks, with another stem where images are as small as CIFAR's.

Their own stems halve an image once or twice before the first block, and the whole networks five times, which leaves
nothing of 32 x 32 pixels. The stems here are those with which these networks are usually reported on CIFAR-10; the
names of the parameters stay torchvision's.
"""

from __future__ import annotations

from torch import nn

SMALL = 64
"""Side in pixels below which an image gets the stem for small ones."""


def resnet18(*, classes: int, image_size: int) -> nn.Module:
    """Return a ResNet-18 (He et al. 2016). Shape: (N, 3, S, S) to (N, classes)."""
    from torchvision import models

    return _resnet_stem(models.resnet18(num_classes=classes), image_size)


def resnet50(*, classes: int, image_size: int) -> nn.Module:
    """Return a ResNet-50 (He et al. 2016). Shape: (N, 3, S, S) to (N, classes)."""
    from torchvision import models

    return _resnet_stem(models.resnet50(num_classes=classes), image_size)


def vgg16(*, classes: int, image_size: int) -> nn.Module:
    """Return a VGG-16 with batch norm, torchvision's `vgg16_bn`; see `vgg19`."""
    return _vgg("D", classes=classes, image_size=image_size)


def vgg19(*, classes: int, image_size: int) -> nn.Module:
    """Return a VGG-19 with batch norm, torchvision's `vgg19_bn` (Simonyan & Zisserman 2015).

    Small images get one linear layer behind the convolutions, as is usual for CIFAR, in place of three.

    Shape: (N, 3, S, S) to (N, classes).
    """
    return _vgg("E", classes=classes, image_size=image_size)


def _vgg(configuration: str, *, classes: int, image_size: int) -> nn.Module:
    """Return the network of one of the paper's columns, by its letter."""
    from torchvision.models import vgg

    convolutions = vgg.make_layers(vgg.cfgs[configuration], batch_norm=True)
    if image_size >= SMALL:
        network: nn.Module = vgg.VGG(convolutions, num_classes=classes)
        return network
    network = nn.Sequential()
    network.add_module("features", convolutions)
    network.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("classifier", nn.Linear(512, classes))
    # As torchvision's VGG does itself; it cannot be built without 120 million parameters of linear layers.
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            _initialise(module)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
    return network


def mobilenet_v2(*, classes: int, image_size: int) -> nn.Module:
    """Return a MobileNetV2 (Sandler et al. 2018); for small images the first two of its five strides are 1.

    Shape: (N, 3, S, S) to (N, classes).
    """
    from torchvision import models

    network: nn.Module = models.mobilenet_v2(num_classes=classes)
    if image_size < SMALL:
        strided = [module for module in network.modules() if isinstance(module, nn.Conv2d) and module.stride == (2, 2)]
        for convolution in strided[:2]:
            convolution.stride = (1, 1)
    return network


def swin_t(*, classes: int, image_size: int) -> nn.Module:
    """Return a Swin-T (Liu et al. 2021); small images are cut into patches of 2 pixels and windows of 4 patches.

    Windows of 4 divide the 16, 8 and 4 patches that a side of 32 pixels has in the first three stages, as windows of 7
    do at 224 pixels; the last stage's 2 are one window.

    Shape: (N, 3, S, S) to (N, classes).
    """
    from robustprune.classification.networks.swin import Swin

    patch, window = (4, 7) if image_size >= SMALL else (2, 4)
    return Swin(
        patch_size=[patch, patch],
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=[window, window],
        stochastic_depth_prob=0.2,
        num_classes=classes,
    )


def _resnet_stem(network: nn.Module, image_size: int) -> nn.Module:
    if image_size < SMALL:
        stem = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        _initialise(stem)
        network.conv1, network.maxpool = stem, nn.Identity()
    return network


def _initialise(convolution: nn.Conv2d) -> None:
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
