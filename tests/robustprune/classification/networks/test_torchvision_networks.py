"""torchvision's networks with stems for small images: how much of an image reaches the blocks, and under what names."""

import pytest
import torch
from torch import nn
from torchvision import models

from robustprune.classification.networks import torchvision_networks
from robustprune.classification.networks.torchvision_networks import (
    mobilenet_v2,
    resnet18,
    resnet50,
    swin_t,
    vgg16,
    vgg19,
)

FULL_SIZE = {"vgg16": models.vgg16_bn, "vgg19": models.vgg19_bn} | {
    name: getattr(models, name) for name in ("resnet18", "resnet50", "mobilenet_v2")
}


def last_map(network: nn.Module, layer: str, image_size: int) -> torch.Size:
    seen: list[torch.Size] = []
    hook = network.get_submodule(layer).register_forward_hook
    with hook(lambda module, inputs, output: seen.append(output.shape)):
        network(torch.empty(2, 3, image_size, image_size))
    return seen[0]


@pytest.mark.parametrize("name", FULL_SIZE)
def test_large_images_get_torchvisions_own(name: str) -> None:
    with torch.device("meta"):
        ours = getattr(torchvision_networks, name)(classes=10, image_size=64)
        theirs = FULL_SIZE[name](num_classes=10)
    assert str(ours) == str(theirs)


def test_a_large_swin_is_of_the_size_of_torchvisions() -> None:
    with torch.device("meta"):
        ours, theirs = swin_t(classes=10, image_size=64), models.swin_t(num_classes=10)
    shapes = [{name: tensor.shape for name, tensor in each.state_dict().items()} for each in (ours, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_small_images_do_not_change_the_names_of_parameters(name: str) -> None:
    with torch.device("meta"):
        ours = getattr(torchvision_networks, name)(classes=10, image_size=32)
        theirs = FULL_SIZE[name](num_classes=10)
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_something_is_left_of_small_images() -> None:
    with torch.device("meta"):
        for build, channels in ((resnet18, 512), (resnet50, 2048)):
            network = build(classes=10, image_size=32)
            assert last_map(network, "layer1", 32)[2:] == (32, 32)
            assert last_map(network, "layer4", 32) == (2, channels, 4, 4)
        network = mobilenet_v2(classes=10, image_size=32)
        assert last_map(network, "features", 32) == (2, 1280, 4, 4)
        for build in (vgg16, vgg19):
            assert last_map(build(classes=10, image_size=32), "features", 32) == (2, 512, 1, 1)
        network = swin_t(classes=10, image_size=32)
        assert last_map(network, "features", 32) == (2, 2, 2, 768)


def test_the_small_stems_are_initialised_as_the_networks_are() -> None:
    torch.manual_seed(0)
    # Kaiming, fan out: the deviation is sqrt(2 / (64 * 3 * 3)).
    for network in (resnet18(classes=10, image_size=32), vgg19(classes=10, image_size=32)):
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
        assert first.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)
        assert first.bias is None or not first.bias.any()
