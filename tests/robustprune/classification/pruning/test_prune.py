"""Pruned classifiers: what leaves is what was decided, and what is left computes what it should."""

import copy
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustprune.classification.networks import cifar, torchvision_networks
from robustprune.classification.networks.classifier import CIFAR10, Classifier
from robustprune.classification.pruning import (
    SCOPES,
    ChannelImportance,
    Pruned,
    channel_groups,
    filter_masks,
    from_weights,
    l1,
    prunable_layers,
    prune,
    random,
    unpruned,
)
from robustprune.core.errors import InputError
from robustprune.structures.masks import keep_count
from tests.robustprune.classification.pruning.networks import KINDS, classifier, experienced, images, masks, silenced

NETWORKS = {
    "resnet20": lambda: cifar.resnet(20, classes=10),
    "wrn-10-2": lambda: cifar.wide_resnet(10, 2, classes=10),
    **{
        name: lambda name=name: getattr(torchvision_networks, name)(classes=10, image_size=32)
        for name in ("resnet18", "resnet50", "vgg19", "mobilenet_v2", "swin_t")
    },
}
SMALL = ("resnet20", "wrn-10-2", "mobilenet_v2")
LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS if name not in SMALL]
SPARSITIES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)


def named(name: str) -> Classifier:
    torch.manual_seed(0)
    return experienced(Classifier(NETWORKS[name](), CIFAR10, classes=tuple("0123456789")))


@cache
def decisions(name: str) -> list[int]:
    return [group.decisions for group in channel_groups(named(name), image_size=32)]


def drawn(seed: int = 0) -> ChannelImportance:
    return random(torch.Generator().manual_seed(seed))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def assert_trains(pruned: Classifier) -> None:
    """Forward and backward in both modes, every parameter taking part."""
    for mode in (True, False):
        pruned.train(mode).zero_grad()
        logits = pruned(images(size=32, count=3))
        assert logits.isfinite().all()
        assert len(logits) == 3
        logits.square().sum().backward()
    pruned.eval()


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("sparsity", [0.5, 1.0])
def test_networks_prune_and_go_on(name: str, scope: str, sparsity: float) -> None:
    pruned = named(name)
    before = parameters(pruned)
    counts = prune(pruned, sparsity=sparsity, scope=scope, importance=l1, image_size=32)
    assert_trains(pruned)
    assert counts.channels_kept < counts.channels_total
    assert parameters(pruned) < before * (1 - 0.6 * sparsity)


@pytest.mark.slow
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    ("name", "sparsity"),
    [(name, sparsity) for name in NETWORKS for sparsity in (SPARSITIES if name == SMALL[0] else (0.05, 0.5, 0.99))],
)
def test_all_networks_prune_lightly_and_to_the_floor(name: str, scope: str, sparsity: float) -> None:
    pruned, groups = named(name), decisions(name)
    counts = prune(pruned, sparsity=sparsity, scope=scope, importance=drawn(), image_size=32)
    assert_trains(pruned)
    assert counts.channels_total == sum(groups)
    expected = [keep_count(sparsity, count) for count in groups]
    if scope == "layer":
        assert counts[1:] == (sum(expected), min(expected), expected.count(1))
    else:
        assert counts.channels_kept == max(keep_count(sparsity, sum(groups)), len(groups))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", SMALL)
def test_sparsity_0_leaves_every_bit(name: str, scope: str) -> None:
    pruned = named(name)
    before = copy.deepcopy(pruned.state_dict())
    counts = prune(pruned, sparsity=0, scope=scope, importance=drawn(), image_size=32)
    assert counts == unpruned(pruned, image_size=32)
    assert counts.channels_kept == counts.channels_total
    after = pruned.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_over_pruning_shows_in_the_counts() -> None:
    network = named("resnet20")
    assert unpruned(network, image_size=32) == Pruned(448, 448, 16, 0)
    counts = prune(network, sparsity=0.95, scope="layer", importance=l1, image_size=32)
    assert counts == Pruned(448, 4 * (1 + 2 + 3), 1, 4)
    assert prune(network, sparsity=1.0, scope="layer", importance=l1, image_size=32) == Pruned(24, 12, 1, 8)
    # Groups that had no more than one channel were not cut to it.
    assert prune(network, sparsity=1.0, scope="global", importance=l1, image_size=32) == Pruned(12, 12, 1, 0)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_a_pruned_network_computes_what_the_masked_one_does(name: str, scope: str) -> None:
    network = named(name)
    groups = channel_groups(network, image_size=32)
    kept = SCOPES[scope](drawn()(groups), 0.4)
    expected = silenced(network, kept, size=32)(images(size=32))
    found = filter_masks(groups, kept)
    prune(network, sparsity=0.4, scope=scope, importance=drawn(), image_size=32)
    torch.testing.assert_close(network(images(size=32)), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    layers = prunable_layers(network, groups)
    assert {name: len(layer.weight) for name, layer in layers.items()} == {
        name: int(found[name].sum()) for name in layers
    }
    assert layers.keys() == found.keys()


blocks = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3)), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    blocks=blocks,
    hidden=st.none() | st.integers(1, 6),
    sparsity=st.floats(0, 1),
    scope=st.sampled_from(list(SCOPES)),
    seed=st.integers(0, 9),
)
def test_any_network_computes_what_the_masked_one_does(
    blocks: list[tuple[str, int]], hidden: int | None, sparsity: float, scope: str, seed: int
) -> None:
    network = classifier(blocks, hidden=hidden)
    groups = channel_groups(network, image_size=8)
    kept = SCOPES[scope](drawn(seed)(groups), sparsity)
    expected = silenced(network, kept)(images())
    counts = prune(network, sparsity=sparsity, scope=scope, importance=drawn(seed), image_size=8)
    torch.testing.assert_close(network(images()), expected, rtol=1e-5, atol=1e-5)
    assert counts.channels_kept == sum(int(stays.sum()) for stays in kept)
    assert counts.fewest_channels == min(group.decisions for group in channel_groups(network, image_size=8)) >= 1


def test_kept_filters_keep_every_bit_and_their_order() -> None:
    network = named("resnet20")
    before = copy.deepcopy(network)
    found = masks(network, sparsity=0.5, scope="layer", importance=drawn(), image_size=32)
    prune(network, sparsity=0.5, scope="layer", importance=drawn(), image_size=32)
    stream, inner = found["network.conv1"], found["network.layer1.0.conv1"]
    expected = before.network.layer1[0].conv1.weight[inner][:, stream]
    assert torch.equal(network.network.layer1[0].conv1.weight, expected)
    assert torch.equal(network.network.linear.weight, before.network.linear.weight[:, found["network.layer3.0.conv2"]])


@pytest.mark.parametrize("mode", [True, False])
def test_pruning_leaves_the_mode(mode: bool) -> None:
    network = named("resnet20").train(mode)
    network.network.bn1.train(not mode)
    prune(network, sparsity=0.5, scope="layer", importance=l1, image_size=32)
    assert network.network.bn1.training is not mode
    assert network.network.layer1[0].bn1.training is mode
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("scope", SCOPES)
def test_what_a_higher_sparsity_keeps_a_lower_one_keeps_too(scope: str) -> None:
    network = named("resnet20")
    groups = channel_groups(network, image_size=32)
    scores = {name: layer.weight.detach().abs() for name, layer in prunable_layers(network, groups).items()}
    for importance in (l1, drawn(), from_weights(scores)):
        previous = None
        for sparsity in (0, 0.05, 0.3, 0.5, 0.77, 0.9, 0.99, 1):
            found = filter_masks(groups, SCOPES[scope](importance(groups), sparsity))
            if previous is not None:
                assert all((previous[name] | ~mask).all() for name, mask in found.items())
                assert any((previous[name] & ~mask).any() for name, mask in found.items()) or sparsity == 1
            previous = found


def test_a_scope_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="unknown scope 'globl': expected one of layer, global; did you mean 'global'"):
        prune(named("resnet20"), sparsity=0.5, scope="globl", importance=l1, image_size=32)
