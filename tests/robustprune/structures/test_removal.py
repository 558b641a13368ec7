"""Pruned classifiers: what leaves is what was decided, and what is left computes what it should."""

import copy
from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.networks import cifar, preactivation, torchvision_networks
from robustprune.core.errors import InputError
from robustprune.inference.cost import cost, size
from robustprune.methods.gates import gated
from robustprune.structures import SCOPES, draw_masks
from robustprune.structures.groups import CoupledGroup, Members, decided_layers
from robustprune.structures.masks import apply, keep_count
from robustprune.structures.removal import ChannelCounts, channel_counts, departing, kept_decisions, remove, unread
from tests.robustprune.structures.networks import (
    KINDS,
    classifier,
    drawn,
    experienced,
    groups_of,
    images,
    masks,
    norms,
    pruned,
    silenced,
    unpruned,
)
from tests.robustprune.structures.networks import given as given_scores

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet20": lambda: cifar.resnet(20, classes=10),
    "wrn-10-2": lambda: cifar.wide_resnet(10, 2, classes=10),
    "wrn-10-1-silu": lambda: preactivation.wide_resnet_silu(10, 1, classes=10),
    "preact_resnet18": lambda: preactivation.PreActResNet18(classes=10, batch_norm=False),
    "preact_resnet18-bn": lambda: preactivation.PreActResNet18(classes=10, batch_norm=True),
    "preact_resnet18-silu": lambda: preactivation.PreActSiluResNet18(classes=10),
    **{
        name: partial(getattr(torchvision_networks, name), classes=10, image_size=32)
        for name in ("resnet18", "resnet50", "vgg19", "mobilenet_v2")
    },
}
SMALL = ("resnet20", "wrn-10-2", "wrn-10-1-silu", "mobilenet_v2")
LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS if name not in SMALL]
RATIOS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)


def named(name: str) -> Classifier:
    torch.manual_seed(0)
    return experienced(Classifier(NETWORKS[name](), CIFAR10, classes=tuple("0123456789")))


@cache
def decisions(name: str) -> list[int]:
    return [group.decisions for group in groups_of(named(name), size=32)]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def assert_trains(network: Classifier) -> None:
    """Forward and backward in both modes, every parameter taking part."""
    for mode in (True, False):
        network.train(mode).zero_grad()
        logits = network(images(size=32, count=3))
        assert logits.isfinite().all()
        assert len(logits) == 3
        logits.square().sum().backward()
    network.eval()


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_networks_prune_and_go_on(name: str, scope: str, ratio: float) -> None:
    network = named(name)
    before = parameters(network)
    counts = pruned(network, ratio=ratio, scope=scope, scores=norms, size=32)
    assert_trains(network)
    assert counts.channels_kept < counts.channels_total
    assert parameters(network) < before * (1 - 0.6 * ratio)


@pytest.mark.slow
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    ("name", "ratio"),
    [(name, ratio) for name in NETWORKS for ratio in (RATIOS if name == SMALL[0] else (0.05, 0.5, 0.99))],
)
def test_all_networks_prune_lightly_and_to_the_floor(name: str, scope: str, ratio: float) -> None:
    network, groups = named(name), decisions(name)
    counts = pruned(network, ratio=ratio, scope=scope, scores=drawn(), size=32)
    assert_trains(network)
    assert counts.channels_total == sum(groups)
    expected = [keep_count(ratio, count) for count in groups]
    if scope == "layer":
        assert counts[1:] == (sum(expected), min(expected), expected.count(1))
    else:
        assert counts.channels_kept == max(keep_count(ratio, sum(groups)), len(groups))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", SMALL)
def test_a_ratio_of_0_leaves_every_bit(name: str, scope: str) -> None:
    network = named(name)
    before = copy.deepcopy(network.state_dict())
    counts = pruned(network, ratio=0, scope=scope, scores=drawn(), size=32)
    assert counts == unpruned(network, size=32)
    assert counts.channels_kept == counts.channels_total
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_over_pruning_shows_in_the_counts() -> None:
    network = named("resnet20")
    assert unpruned(network, size=32) == ChannelCounts(448, 448, 16, 0)
    counts = pruned(network, ratio=0.95, scope="layer", scores=norms, size=32)
    assert counts == ChannelCounts(448, 4 * (1 + 2 + 3), 1, 4)
    assert pruned(network, ratio=1.0, scope="layer", scores=norms, size=32) == ChannelCounts(24, 12, 1, 8)
    # Groups that had no more than one channel were not cut to it.
    assert pruned(network, ratio=1.0, scope="global", scores=norms, size=32) == ChannelCounts(12, 12, 1, 0)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_a_pruned_network_computes_what_the_masked_one_does(name: str, scope: str) -> None:
    network = named(name)
    groups = groups_of(network, size=32)
    found = masks(network, groups, ratio=0.4, scope=scope, scores=drawn())
    expected = silenced(network, kept_decisions(groups, found), size=32)(images(size=32))
    pruned(network, ratio=0.4, scope=scope, scores=drawn(), size=32)
    torch.testing.assert_close(network(images(size=32)), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    layers = decided_layers(network, groups)
    assert {name: len(layer.weight) for name, layer in layers.items()} == {
        name: int(filters_of(found[name]).sum()) for name in layers
    }
    assert layers.keys() == found.keys()


blocks = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3)), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    blocks=blocks,
    hidden=st.none() | st.integers(1, 6),
    ratio=st.floats(0, 1),
    scope=st.sampled_from(SCOPES),
    seed=st.integers(0, 9),
)
def test_any_network_computes_what_the_masked_one_does(
    blocks: list[tuple[str, int]], hidden: int | None, ratio: float, scope: str, seed: int
) -> None:
    network = classifier(blocks, hidden=hidden)
    groups = groups_of(network)
    kept = kept_decisions(groups, masks(network, groups, ratio=ratio, scope=scope, scores=drawn(seed)))
    expected = silenced(network, kept)(images())
    counts = pruned(network, ratio=ratio, scope=scope, scores=drawn(seed))
    torch.testing.assert_close(network(images()), expected, rtol=1e-5, atol=1e-5)
    assert counts == channel_counts(kept)
    assert counts.channels_kept == sum(int(stays.sum()) for stays in kept)
    assert counts.fewest_channels == min(group.decisions for group in groups_of(network)) >= 1


def test_kept_filters_keep_every_bit_and_their_order() -> None:
    network = named("resnet20")
    before = copy.deepcopy(network)
    found = masks(network, groups_of(network, size=32), ratio=0.5, scope="layer", scores=drawn())
    pruned(network, ratio=0.5, scope="layer", scores=drawn(), size=32)
    stream, inner = (filters_of(found[f"network.{name}"]) for name in ("conv1", "layer1.0.conv1"))
    expected = before.get_parameter("network.layer1.0.conv1.weight")[inner][:, stream]
    assert torch.equal(network.get_parameter("network.layer1.0.conv1.weight"), expected)
    last = filters_of(found["network.layer3.0.conv2"])
    expected = before.get_parameter("network.linear.weight")[:, last]
    assert torch.equal(network.get_parameter("network.linear.weight"), expected)


@pytest.mark.parametrize("mode", [True, False])
def test_pruning_leaves_the_mode(mode: bool) -> None:
    network = named("resnet20").train(mode)
    network.get_submodule("network.bn1").train(not mode)
    pruned(network, ratio=0.5, scope="layer", scores=norms, size=32)
    assert network.get_submodule("network.bn1").training is not mode
    assert network.get_submodule("network.layer1.0.bn1").training is mode
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("scope", SCOPES)
def test_what_a_higher_ratio_keeps_a_lower_one_keeps_too(scope: str) -> None:
    network = named("resnet20")
    groups = groups_of(network, size=32)
    weights = {name: layer.weight.detach().abs() for name, layer in decided_layers(network, groups).items()}
    for scores in (norms, drawn(), given_scores(weights)):
        previous = None
        for ratio in (0, 0.05, 0.3, 0.5, 0.77, 0.9, 0.99, 1):
            found = masks(network, groups, ratio=ratio, scope=scope, scores=scores)
            if previous is not None:
                assert all((previous[name] | ~mask).all() for name, mask in found.items())
                assert any((previous[name] & ~mask).any() for name, mask in found.items()) or ratio == 1
            previous = found


def test_of_filters_that_are_masked_in_part_the_channel_stays() -> None:
    network = classifier([("plain", 0)])
    groups = groups_of(network)
    found = masks(network, groups, ratio=0.5, scope="layer", scores=drawn())
    whole = kept_decisions(groups, found)
    gone = int((~whole[0]).nonzero()[0])
    found["network.0.0"][gone, 0, 0, 0] = True
    (stem, *others) = kept_decisions(groups, found)
    assert stem.tolist() == [bool(stays) or channel == gone for channel, stays in enumerate(whole[0])]
    assert all(map(torch.equal, others, whole[1:]))
    # A layer without a mask stays as a whole.
    assert kept_decisions(groups, {})[0].all()


def test_a_structure_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="unknown structure 'chanels': expected one of .*; did you mean 'channels'"):
        draw_masks("chanels", {}, 0.5, groups=[], scope="layer", comparable=False)


def filters_of(mask: Tensor) -> Tensor:
    """Return which filters stay, none of them in part."""
    rows = mask.flatten(1)
    assert torch.equal(rows.any(dim=1), rows.all(dim=1))
    return rows.all(dim=1)


@pytest.mark.parametrize("kinds", [("plain",), ("depthwise",), ("projected",), ("plain", "projected", "depthwise")])
def test_masked_channels_are_as_good_as_removed_with_all_that_leaves_with_them(kinds: tuple[str, ...]) -> None:
    network = classifier([(kind, 2) for kind in kinds], hidden=6)
    groups = groups_of(network)
    masks_of = masks(network, groups, ratio=0.5, scope="layer", scores=drawn(), structure="structured")
    kept = kept_decisions(groups, masks_of)
    masked, removed = copy.deepcopy(network), copy.deepcopy(network)
    apply(masks_of | departing(masked, groups, kept), masked)
    remove(groups_of(removed), kept)
    torch.testing.assert_close(masked(images()), removed(images()), rtol=1e-4, atol=1e-5)
    # In training too, where statistics are the batch's.
    torch.testing.assert_close(masked.train()(images()), removed.train()(images()), rtol=1e-4, atol=1e-5)
    # Weights alone would leave constants.
    apply(masks_of, network)
    assert not torch.allclose(network(images()), removed.eval()(images()), atol=1e-3)


@pytest.mark.parametrize("kinds", [("plain",), ("depthwise",), ("projected",), ("option A",), KINDS])
def test_of_masked_channels_as_many_parameters_are_counted_as_stay_when_they_are_removed(
    kinds: tuple[str, ...],
) -> None:
    network = classifier([(kind, 2) for kind in kinds], hidden=6)
    groups = groups_of(network)
    masks_of = masks(network, groups, ratio=0.6, scope="layer", scores=drawn(), structure="structured")
    kept = kept_decisions(groups, masks_of)
    departed = departing(network, groups, kept)
    gone = departed | unread(network, groups, kept, departed)
    counted, removed = cost(network, masks_of, images(), gone=gone), copy.deepcopy(network)
    remove(groups_of(removed), kept)
    left = size(removed, images())
    assert (counted.params_kept, counted.macs) == (left.params, left.macs)
    assert counted.params_total == parameters(network)


@pytest.mark.parametrize("depth", [8, 14])
def test_a_masked_channel_comes_through_no_shortcut_either(depth: int) -> None:
    network = experienced(Classifier(cifar.resnet(depth, classes=3), CIFAR10, classes=("a", "b", "c"))).double()
    groups, x = groups_of(network), images().double()
    kept = kept_decisions(groups, found := masks(network, groups, ratio=0.5, scope="layer", scores=drawn()))
    masked, removed = copy.deepcopy(network), copy.deepcopy(network)
    apply(found | departing(masked, groups, kept), masked)
    remove(groups_of(removed), kept)
    torch.testing.assert_close(masked(x), removed(x), rtol=1e-10, atol=1e-12)
    gates = gated(network, groups, [stays.double() for stays in kept])
    torch.testing.assert_close(functional_call(network, gates, (x,)), removed(x), rtol=1e-10, atol=1e-12)
    # In training too.
    torch.testing.assert_close(masked.train()(x), removed.train()(x), rtol=1e-10, atol=1e-12)


class Shared(nn.Module):
    """Two convolutions that one batch norm normalises, channel by channel, and a reader of either."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(3, 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.read_one, self.read_other = nn.Conv2d(4, 2, 1, bias=False), nn.Conv2d(4, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        read: Tensor = self.read_one(self.norm(self.one(x))) + self.read_other(self.norm(self.other(x)))
        return read


def test_a_norm_of_two_groups_keeps_a_channel_for_the_one_that_still_needs_it() -> None:
    network = Shared()
    every = Members(torch.arange(4), torch.arange(4))
    groups = [
        CoupledGroup(decisions=4, filters={name: every}, readers={f"read_{name}": every}, norms={"norm": every})
        for name in ("one", "other")
    ]
    kept = [torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])]
    for order in (slice(None), slice(None, None, -1)):
        departed = departing(network, groups[order], kept[order])
        # The channel goes that neither has any more.
        assert departed.keys() == {"norm.weight", "norm.bias"}
        assert all(mask.tolist() == [True, True, True, False] for mask in departed.values())
        # A filter whose channel stays in the norm still emits its constant, and somebody reads that.
        masks_of = unread(network, groups[order], kept[order], departed)
        for name in ("read_one.weight", "read_other.weight"):
            assert masks_of[name][0, :, 0, 0].tolist() == [True, True, True, False]
