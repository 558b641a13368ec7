"""The networks by name: what each takes and gives, and what is said of names and sizes that cannot be."""

import re

import pytest
import torch
from torch import nn

from robustprune.classification.networks import build, check_image_size
from robustprune.core.errors import InputError

PREACTIVATION = ("wrn-10-1-silu", "preact_resnet18", "preact_resnet18-bn", "preact_resnet18-silu")


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", 11_173_962),
        ("resnet50", 23_520_842),
        ("vgg16", 14_728_266),
        ("vgg19", 20_040_522),
        ("mobilenet_v2", 2_236_682),
        ("resnet20", 269_722),
        ("resnet56", 853_018),
        ("resnet110", 1_727_962),
        ("wrn-28-10", 36_479_194),
        ("wrn-28-10-silu", 36_479_194),
        ("preact_resnet18", 11_172_170 - 1024),
        ("preact_resnet18-bn", 11_172_170),
    ],
)
def test_networks_have_the_size_published_for_cifar10(name: str, expected: int) -> None:
    with torch.device("meta"):
        assert parameters(build(name, classes=10, image_size=32)) == expected


@pytest.mark.parametrize(("name", "expected"), [("mlp-mixer-s16", 18_528_264), ("mlp-mixer-b16", 59_880_472)])
def test_mixers_have_the_size_published_for_imagenet(name: str, expected: int) -> None:
    with torch.device("meta"):
        network = build(name, classes=1000, image_size=224)
    assert parameters(network) == expected
    names = network.state_dict().keys()
    assert {"stem.proj.weight", "blocks.7.mlp_tokens.fc1.bias", "blocks.0.norm2.weight", "norm.bias"} <= names


def test_of_resnet18_the_blocks_hold_what_the_published_compressions_are_counted_by() -> None:
    # Zhou et al. 2023, table 1: parameters without "bias" in their name; pruned are the 3 x 3 convolutions of blocks.
    with torch.device("meta"):
        network = build("resnet18", classes=10, image_size=32)
    counted = {name: tensor.numel() for name, tensor in network.named_parameters() if "bias" not in name}
    blocks = {name: count for name, count in counted.items() if re.fullmatch(r"layer\d\.\d\.conv\d\.weight", name)}
    total, pruned = sum(counted.values()), sum(blocks.values())
    assert (len(blocks), total, pruned) == (16, 11_169_152, 10_985_472)
    assert total / (0.1 * pruned + total - pruned) == pytest.approx(8.711, abs=5e-4)


@pytest.mark.parametrize("image_size", [32, 64])
@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "resnet50", "vgg16", "vgg19", "mobilenet_v2", "swin_t", "resnet32", "wrn-16-2"),
        *("mlp-mixer-tiny", "mlp-mixer-s16", "mlp-mixer-b8", *PREACTIVATION),
    ],
)
def test_images_give_logits(name: str, image_size: int) -> None:
    with torch.device("meta"):
        network = build(name, classes=7, image_size=image_size)
        assert network(torch.empty(2, 3, image_size, image_size)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        *(("resnet18", 8), ("vgg16", 32), ("vgg19", 32), ("mobilenet_v2", 8), ("swin_t", 16), ("resnet8", 4)),
        *(("preact_resnet18", 8), ("mlp-mixer-tiny", 8)),
    ],
)
def test_the_smallest_images_are_told_apart(name: str, least: int) -> None:
    torch.manual_seed(0)
    network = build(name, classes=3, image_size=least).eval()
    logits = network(torch.rand(2, 3, least, least))
    assert logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])
    with pytest.raises(
        InputError, match=rf"model {name} cannot take images of {least - 1} pixels .* at least {least}$"
    ):
        check_image_size(name, least - 1)
    with pytest.raises(InputError, match="dataset.image_size"):
        build(name, classes=3, image_size=least - 1)


def test_patches_are_to_cover_the_image() -> None:
    with pytest.raises(InputError, match="model mlp-mixer-s16 cannot take images of 40 pixels .* multiple of 16"):
        check_image_size("mlp-mixer-s16", 40)
    with pytest.raises(InputError, match="model swin_t cannot take images of 30 pixels .* expected a multiple of 4"):
        check_image_size("swin_t", 30)
    check_image_size("swin_t", 32)


@pytest.mark.parametrize("name", ["resnet18", "vgg19", "mobilenet_v2", "resnet8", "wrn-10-1", "mlp-mixer-tiny"])
def test_weights_come_from_the_global_generator(name: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([weight.flatten() for weight in build(name, classes=3, image_size=32).parameters()])

    first = weights(0)
    assert torch.equal(weights(0), first)
    assert not torch.equal(weights(1), first)


def test_depth_50_is_torchvisions() -> None:
    with torch.device("meta"):
        sizes = [parameters(build(name, classes=10, image_size=32)) for name in ("resnet44", "resnet50", "resnet56")]
    assert sizes == [658_586, 23_520_842, 853_018]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnt18", "unknown model 'resnt18': .*did you mean 'resnet18'"),
        ("vgg", "unknown model 'vgg': expected one of .*did you mean 'vgg19'"),
        ("mlp-mixer-x16", "unknown model 'mlp-mixer-x16': .*did you mean 'mlp-mixer-s16'"),
        ("mlp-mixer-b0", "unknown model 'mlp-mixer-b0'"),
        ("wrn-28", "unknown model 'wrn-28': .*did you mean 'wrn-28-10'"),
        ("wrn-30-10-silu", "model wrn-30-10-silu has 30 layers, expected 6n \\+ 4 such as 16, 28"),
        ("wrn-30-10", "model wrn-30-10 has 30 layers, expected 6n \\+ 4 such as 16, 28"),
        ("wrn-4-10", "model wrn-4-10 has 4 layers, expected 6n \\+ 4"),
        ("wrn-28-0", "unknown model 'wrn-28-0'"),
        ("resnet21", "model resnet21 has 21 layers, expected 6n \\+ 2 such as resnet20.* torchvision's resnet18"),
        ("resnet2", "model resnet2 has 2 layers, expected 6n \\+ 2"),
        ("resnet020", "unknown model 'resnet020'"),
    ],
)
def test_no_such_network(name: str, message: str) -> None:
    for image_size in (1, 32):
        with pytest.raises(InputError, match=message):
            check_image_size(name, image_size)
