"""Networks of tokens: what they compute, and that every part of them can lose channels."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torchvision.models import SwinTransformer

from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.networks.mixer import MixerSize, MlpMixer
from robustprune.classification.networks.norms import PrunableLayerNorm
from robustprune.classification.networks.pruning import channel_groups, kept_whole
from robustprune.classification.networks.swin import Swin
from robustprune.inference.cost import cost, size
from robustprune.methods.gates import gated
from robustprune.structures.groups import CoupledGroup
from robustprune.structures.masks import Masks, apply, keep_count, largest
from robustprune.structures.removal import departing, kept_decisions, remove, unread

SIDE = 20
SWIN: dict[str, Any] = {
    "patch_size": [2, 2],
    "embed_dim": 8,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": [4, 4],
    "stochastic_depth_prob": 0.0,
    "num_classes": 3,
}
EXAMPLE = torch.zeros(1, 3, SIDE, SIDE)


def mixer() -> MlpMixer:
    width = MixerSize(width=6, depth=2, tokens_hidden=5, channels_hidden=12)
    return MlpMixer(width, patch=4, image_size=SIDE, classes=3)


NETWORKS: dict[str, Callable[[], nn.Module]] = {"swin": lambda: Swin(**SWIN), "mixer": mixer}
every_network = pytest.mark.parametrize("name", NETWORKS)


def drawn(name: str) -> Classifier:
    """Return a network in float64 none of whose parameters is what it is at first."""
    torch.manual_seed(0)
    network = Classifier(NETWORKS[name](), CIFAR10, classes=("a", "b", "c")).eval().double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


def images(count: int = 2) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def chosen(groups: list[CoupledGroup], ratio: float) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    scores = [torch.rand(group.decisions, generator=generator) for group in groups]
    return [largest(each, keep_count(ratio, len(each))) for each in scores]


def masks_of(network: nn.Module, groups: list[CoupledGroup], kept: list[Tensor]) -> Masks:
    names = dict.fromkeys(name for group in groups for name in group.filters)
    masks = {name: torch.ones_like(network.get_parameter(f"{name}.weight"), dtype=torch.bool) for name in names}
    for group, stays in zip(groups, kept, strict=True):
        for name, members in group.filters.items():
            masks[name][members.indices[~stays[members.decisions]]] = False
    return masks


@pytest.mark.parametrize("side", [8, 12, SIDE, 33])
def test_a_swin_computes_what_torchvisions_does_bit_for_bit(side: int) -> None:
    # Sides of one window, of shifted ones, of some to be padded, and of patches left over.
    networks = []
    for build in (Swin, SwinTransformer):
        torch.manual_seed(0)
        networks.append(build(**SWIN).eval())
    ours, theirs = networks
    assert list(ours.state_dict()) == list(theirs.state_dict())
    pictures = torch.rand(2, 3, side, side)
    assert torch.equal(ours(pictures), theirs(pictures))
    ours.train().zero_grad()
    theirs.train().zero_grad()
    for network in networks:
        network(pictures).square().sum().backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_a_mixer_computes_what_the_paper_says() -> None:
    network = drawn("mixer").network
    x = images()
    state: dict[str, Tensor] = network.state_dict()

    def normed(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        scaled = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    def mlp(x: Tensor, name: str) -> Tensor:
        hidden = x @ state[f"{name}.fc1.weight"].T + state[f"{name}.fc1.bias"]
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        return hidden @ state[f"{name}.fc2.weight"].T + state[f"{name}.fc2.bias"]

    patches = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    tokens = patches @ state["stem.proj.weight"].flatten(1).T + state["stem.proj.bias"]
    for block in ("blocks.0", "blocks.1"):
        tokens = tokens + mlp(normed(tokens, f"{block}.norm1").mT, f"{block}.mlp_tokens").mT
        tokens = tokens + mlp(normed(tokens, f"{block}.norm2"), f"{block}.mlp_channels")
    expected = normed(tokens, "norm").mean(dim=1) @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(network(x), expected)


@every_network
def test_every_filter_but_the_logits_is_decided_on_once(name: str) -> None:
    network = drawn(name)
    groups = channel_groups(network, EXAMPLE.double())
    found: dict[str, list[int]] = {}
    for group in groups:
        for layer, members in group.filters.items():
            found.setdefault(layer, []).extend(members.indices.tolist())
            assert set(members.decisions.tolist()) == set(range(group.decisions))
    for layer, filters in found.items():
        assert sorted(filters) == list(range(len(network.get_parameter(f"{layer}.weight"))))
    whole = kept_whole(network, EXAMPLE.double())
    # Tokens across which a mixer mixes are the patches of an image, of which none can go.
    assert whole == ([] if name == "swin" else [f"network.blocks.{index}.mlp_tokens.fc2" for index in (0, 1)])
    layers = {layer for layer, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert layers - found.keys() - set(whole) == {"network.head"}


def test_a_swins_groups_are_tokens_keys_values_and_hidden_units() -> None:
    groups = channel_groups(drawn("swin"), EXAMPLE.double())
    found = [
        (group.decisions, [layer.removeprefix("network.features.") for layer in group.filters]) for group in groups
    ]
    assert found[:4] == [
        (8, ["0.0", "1.0.attn.proj", "1.0.mlp.3", "1.1.attn.proj", "1.1.mlp.3"]),
        (4, ["1.0.attn.qkv"]),
        (4, ["1.0.attn.qkv"]),
        (32, ["1.0.mlp.0"]),
    ]
    assert found[7] == (16, ["2.reduction", "3.0.attn.proj", "3.0.mlp.3", "3.1.attn.proj", "3.1.mlp.3"])
    # A channel of keys takes one of queries and one of keys in each of two heads; of values, one in each.
    keys, values = groups[1], groups[2]
    (members,) = keys.filters.values()
    assert members.indices[members.decisions == 1].tolist() == [1, 5, 9, 13]
    (members,) = values.filters.values()
    assert members.indices[members.decisions == 1].tolist() == [17, 21]
    assert values.readers["network.features.1.0.attn.proj"].indices.tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    # Patch merging puts four tokens in a row.
    members = groups[0].readers["network.features.2.reduction"]
    assert members.indices[members.decisions == 3].tolist() == [3, 11, 19, 27]


@every_network
@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.99])
def test_masked_channels_and_closed_gates_are_as_good_as_removed_ones(name: str, ratio: float) -> None:
    network, x = drawn(name), images()
    groups = channel_groups(network, EXAMPLE.double())
    kept = chosen(groups, ratio)
    removed, masked = copy.deepcopy(network), copy.deepcopy(network)
    remove(channel_groups(removed, EXAMPLE.double()), kept)
    expected = removed(x)
    if ratio:
        assert not torch.allclose(expected, network(x), atol=1e-3)
    masks = masks_of(network, groups, kept)
    assert all(torch.equal(*pair) for pair in zip(kept_decisions(groups, masks), kept, strict=True))
    departed = departing(masked, groups, kept)
    apply(masks | departed, masked)
    torch.testing.assert_close(masked(x), expected, rtol=1e-10, atol=1e-12)
    gates = gated(network, groups, [stays.double() for stays in kept])
    torch.testing.assert_close(functional_call(network, gates, (x,)), expected, rtol=1e-10, atol=1e-12)
    # On paper too.
    gone = departed | unread(network, groups, kept, departed)
    before, left = (size(each, EXAMPLE.double()) for each in (network, removed))
    counted = cost(masked, masks, EXAMPLE.double(), gone=gone, before=before)
    assert counted.params_kept == left.params == sum(parameter.numel() for parameter in removed.parameters())
    assert (counted.macs, counted.macs_dense) == (left.macs, before.macs)


@every_network
def test_what_is_left_trains_in_either_way_and_can_be_pruned_again(name: str) -> None:
    network, x = drawn(name), images()
    again = copy.deepcopy(network)
    remove(groups := channel_groups(network, EXAMPLE.double()), chosen(groups, 0.25))
    second = chosen(channel_groups(network, EXAMPLE.double()), 0.5)
    # At once: the second choice among what the first one left.
    both = [
        stays.clone().masked_scatter(stays, more)
        for stays, more in zip(chosen(channel_groups(again, EXAMPLE.double()), 0.25), second, strict=True)
    ]
    remove(channel_groups(again, EXAMPLE.double()), both)
    remove(channel_groups(network, EXAMPLE.double()), second)
    torch.testing.assert_close(network(x), again(x), rtol=1e-10, atol=1e-12)
    network.train()(x).square().sum().backward()
    assert all(p.requires_grad and p.grad is not None for p in network.parameters())


@every_network
def test_a_closed_gate_has_a_gradient_that_can_take_the_channel_back(name: str) -> None:
    network, x = drawn(name), images()
    groups = channel_groups(network, EXAMPLE.double())
    gates = [stays.double().requires_grad_() for stays in chosen(groups, 0.5)]
    loss = functional_call(network, gated(network, groups, gates), (x,)).square().sum()
    for gradient in torch.autograd.grad(loss, gates):
        assert (gradient != 0).all()


@pytest.mark.parametrize("compiling", [False, True])
def test_channels_that_have_left_have_no_part_in_a_layer_norm(compiling: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.compiler.is_compiling", lambda: compiling)
    torch.manual_seed(0)
    norm, smaller = PrunableLayerNorm(6).double(), nn.LayerNorm(4).double()
    x, stay = 3 + torch.randn(2, 5, 6, dtype=torch.float64), torch.tensor([0, 2, 3, 5])
    plain = nn.LayerNorm(6).double()
    torch.testing.assert_close(norm(x), plain(x), rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        for own, of in ((norm.weight, smaller.weight), (norm.bias, smaller.bias)):
            own.zero_()
            own[stay] = of.uniform_(0.5, 1.5)
    found = norm(x)
    torch.testing.assert_close(found[..., stay], smaller(x[..., stay]), rtol=1e-12, atol=1e-12)
    assert not found[..., [1, 4]].any()


def test_a_layer_norm_sums_what_is_narrow_in_float32() -> None:
    torch.manual_seed(0)
    norm, narrow = PrunableLayerNorm(64), torch.randn(3, 64).bfloat16()
    with torch.no_grad():
        norm.weight[0] = norm.bias[0] = 0
    expected = copy.deepcopy(norm).double()(narrow.double())
    torch.testing.assert_close(norm(narrow), expected.float(), rtol=1e-5, atol=1e-6)
