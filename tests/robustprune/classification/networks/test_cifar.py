"""CIFAR's networks: their sizes, their shortcuts, and the published weights that fit them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import pad

from robustprune.classification.networks.cifar import ChannelShortcut, resnet, wide_resnet


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("depth", "expected"), [(20, 269_722), (56, 853_018), (110, 1_727_962)])
def test_residual_networks_have_the_published_size(depth: int, expected: int) -> None:
    with torch.device("meta"):
        assert parameters(resnet(depth, classes=10)) == expected


@pytest.mark.parametrize(("depth", "widen_factor", "expected"), [(28, 10, 36_479_194), (34, 10, 46_160_474)])
def test_wide_residual_networks_have_the_published_size(depth: int, widen_factor: int, expected: int) -> None:
    with torch.device("meta"):
        assert parameters(wide_resnet(depth, widen_factor, classes=10)) == expected


@pytest.mark.parametrize("network", [resnet(8, classes=7), wide_resnet(10, 2, classes=7)], ids=["resnet", "wide"])
@pytest.mark.parametrize("size", [4, 13, 32])
def test_any_size_of_image_gives_logits(network: nn.Module, size: int) -> None:
    logits = network.eval()(torch.rand(2, 3, size, size))
    assert logits.shape == (2, 7)
    assert logits.std() > 0


def test_impossible_depths_are_refused() -> None:
    with pytest.raises(ValueError, match="6n \\+ 2 layers: 8, 14, 20, …, found 18"):
        resnet(18, classes=10)
    with pytest.raises(ValueError, match="6n \\+ 4 layers: 10, 16, 22, …, found 20"):
        wide_resnet(20, 1, classes=10)


def test_a_shortcut_is_the_padded_slice_of_the_reference() -> None:
    x = torch.randn(2, 16, 7, 8)
    expected = pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8))
    assert torch.equal(ChannelShortcut(16, 32, stride=2)(x), expected)


def test_the_names_of_wide_networks_are_those_of_their_checkpoints() -> None:
    names = wide_resnet(10, 2, classes=10).state_dict().keys()
    assert {"conv1.weight", "block1.layer.0.convShortcut.weight", "block3.layer.0.bn2.running_var"} <= names
    assert {"bn1.weight", "fc.weight", "fc.bias"} <= names
    assert {name.split(".")[0] for name in names} == {"conv1", "block1", "block2", "block3", "bn1", "fc"}


def test_published_weights_fit() -> None:
    path = Path(os.environ.get("ROBUSTPRUNE_DATA", "../shared/data")) / "cifar10" / "resnet20.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    network = resnet(20, classes=10)
    # Strict: every tensor has its place, and every place its tensor but for counters of batches.
    weights = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
    counters = {name: torch.tensor(0) for name in network.state_dict() if name.endswith("num_batches_tracked")}
    network.load_state_dict(weights | counters)


@pytest.mark.parametrize("network", [resnet(14, classes=3), wide_resnet(16, 1, classes=3)], ids=["resnet", "wide"])
def test_no_activation_is_used_twice(network: nn.Module) -> None:
    calls: dict[str, int] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda *_, name=name: calls.__setitem__(name, calls.get(name, 0) + 1))
    network.eval()(torch.rand(1, 3, 8, 8))
    assert len(calls) == sum(isinstance(module, nn.ReLU) for module in network.modules())
    assert set(calls.values()) == {1}
