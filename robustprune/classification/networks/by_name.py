"""The networks by name, and the image sizes that each of them can take."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from robustprune.classification.networks import cifar, mixer, preactivation
from robustprune.classification.networks import torchvision_networks as torchvision
from robustprune.core.errors import InputError
from robustprune.plugins import TaskEntry, task_registry


class NetworkBuilder(NamedTuple):
    """A network yet to be built.

    Attributes:
        build: returns it with new weights, from `classes` and `image_size`.
        least: the smallest image side in pixels. A smaller one leaves less than a pixel for the last of the strides.
        multiple: what an image side is to be a multiple of, for no pixel to be left out.
        summary: what it is, in a few words, for lists.
    """

    build: Callable[..., nn.Module]
    least: int
    multiple: int = 1
    summary: str = ""


def _resnet(depth: int) -> NetworkBuilder:
    return NetworkBuilder(
        lambda *, classes, image_size: cifar.resnet(depth, classes=classes),
        least=4,
        summary="CIFAR's ResNet (He et al. 2016), of any depth 6n + 2",
    )


def _wide_resnet(depth: int, widen_factor: int, *, silu: bool = False) -> NetworkBuilder:
    if silu:
        return NetworkBuilder(
            lambda *, classes, image_size: preactivation.wide_resnet_silu(depth, widen_factor, classes=classes),
            least=4,
            multiple=4,
            summary="wide ResNet with SiLU (Gowal et al. 2020), of any depth 6n + 4 and width",
        )
    return NetworkBuilder(
        lambda *, classes, image_size: cifar.wide_resnet(depth, widen_factor, classes=classes),
        least=4,
        summary="wide ResNet (Zagoruyko & Komodakis 2016), of any depth 6n + 4 and width",
    )


def _mixer(size: str, patch: int) -> NetworkBuilder:
    return NetworkBuilder(
        lambda *, classes, image_size: mixer.MlpMixer(
            mixer.SIZES[size], patch=patch, image_size=image_size, classes=classes
        ),
        least=2 * patch,
        multiple=patch,
        summary=f"MLP-Mixer (Tolstikhin et al. 2021), size {size}, of patches of {patch} pixels",
    )


def _preact_resnet(*, batch_norm: bool) -> NetworkBuilder:
    return NetworkBuilder(
        lambda *, classes, image_size: preactivation.PreActResNet18(classes=classes, batch_norm=batch_norm),
        least=8,
        summary=f"pre-activation ResNet-18 ({'Rice' if batch_norm else 'Wong'} et al. 2020)",
    )


_BUNDLED = {
    "resnet18": NetworkBuilder(torchvision.resnet18, least=8, summary="ResNet-18 (He et al. 2016)"),
    "resnet50": NetworkBuilder(torchvision.resnet50, least=8, summary="ResNet-50 (He et al. 2016)"),
    "vgg16": NetworkBuilder(torchvision.vgg16, least=32, summary="VGG-16 with batch norm"),
    "vgg19": NetworkBuilder(torchvision.vgg19, least=32, summary="VGG-19 with batch norm"),
    "mobilenet_v2": NetworkBuilder(torchvision.mobilenet_v2, least=8, summary="MobileNetV2 (Sandler et al. 2018)"),
    "swin_t": TaskEntry(
        task="classification",
        # Patches are of 2 pixels or of 4.
        provides=NetworkBuilder(torchvision.swin_t, least=16, multiple=4, summary="Swin-T (Liu et al. 2021)"),
        version=2,  # since attention and tokens can lose channels too
    ),
    "mlp-mixer-tiny": _mixer("tiny", 4),
    # Examples of families without end.
    **{f"mlp-mixer-{size}16": _mixer(size, 16) for size in ("s", "b")},
    **{f"resnet{depth}": _resnet(depth) for depth in (8, 20, 56, 110)},
    **{f"wrn-{depth}-10": _wide_resnet(depth, 10) for depth in (28, 34)},
    "wrn-28-10-silu": _wide_resnet(28, 10, silu=True),
    "preact_resnet18": _preact_resnet(batch_norm=False),
    "preact_resnet18-bn": _preact_resnet(batch_norm=True),
    "preact_resnet18-silu": NetworkBuilder(
        lambda *, classes, image_size: preactivation.PreActSiluResNet18(classes=classes),
        least=8,
        multiple=8,
        summary="pre-activation ResNet-18 with SiLU (Gowal et al. 2020)",
    ),
}


def _check(name: str, entry: TaskEntry) -> None:
    if not isinstance(entry.provides, NetworkBuilder):
        raise TypeError(f"it provides a {type(entry.provides).__name__}, expected a NetworkBuilder")


NETWORKS = task_registry("robustprune.networks", kind="model", task="classification", bundled=_BUNDLED, check=_check)
"""What they provide is a `NetworkBuilder`."""


def build(name: str, *, classes: int, image_size: int) -> nn.Module:
    """Return a network with new weights, drawn from torch's global generator on the CPU.

    Shape: (N, 3, `image_size`, `image_size`), normalised, to (N, `classes`).

    Args:
        name: torchvision's `resnet18`, `resnet50`, `vgg16` and `vgg19` (with batch norm), `mobilenet_v2` and `swin_t`;
            any other `resnetD` of 6n + 2 layers, such as `resnet20`, is CIFAR's; `wrn-D-K` is a wide ResNet of 6n + 4
            layers, `wrn-D-K-silu` one of `preactivation`, as are `preact_resnet18`, `preact_resnet18-bn` and
            `preact_resnet18-silu`; `mlp-mixer-sP` and `mlp-mixer-bP` are MLP-Mixers of patches of P pixels, such as
            `mlp-mixer-b16`, and `mlp-mixer-tiny` is a small one with patches of 4.
        classes: how many logits, at least 1.
        image_size: side of the images in pixels.

    Raises:
        InputError: no such network, or it cannot take images of that size.
    """
    check_image_size(name, image_size)
    return _find(name).build(classes=classes, image_size=image_size)


def check_image_size(name: str, image_size: int) -> None:
    """Check that a network can take images of a size, without building it.

    Raises:
        InputError: no such network, or it cannot.
    """
    network = _find(name)
    if image_size < network.least:
        expected = f"at least {network.least}"
    elif image_size % network.multiple:
        expected = f"a multiple of {network.multiple}"
    else:
        return
    raise InputError(
        f"model {name} cannot take images of {image_size} pixels (dataset.image_size), expected {expected}"
    )


def _find(name: str) -> NetworkBuilder:
    builder: NetworkBuilder
    if name in NETWORKS:
        builder = NETWORKS[name].provides
        return builder
    if match := re.fullmatch(r"resnet([1-9]\d*)", name):
        depth = int(match[1])
        if depth < 8 or (depth - 2) % 6:
            raise InputError(
                f"model {name} has {depth} layers, expected 6n + 2 such as resnet20, resnet56 and resnet110, "
                "or torchvision's resnet18 and resnet50"
            )
        return _resnet(depth)
    if match := re.fullmatch(r"wrn-([1-9]\d*)-([1-9]\d*)(-silu)?", name):
        depth, widen_factor = int(match[1]), int(match[2])
        if depth < 10 or (depth - 4) % 6:
            raise InputError(f"model {name} has {depth} layers, expected 6n + 4 such as 16, 28, 34 or 70")
        return _wide_resnet(depth, widen_factor, silu=match[3] is not None)
    if match := re.fullmatch(r"mlp-mixer-([sb])([1-9]\d*)", name):
        return _mixer(match[1], int(match[2]))
    builder = NETWORKS.lookup(name).provides
    return builder
