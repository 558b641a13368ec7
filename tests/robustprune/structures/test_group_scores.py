"""What channels are worth, in closed form."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.networks import cifar
from robustprune.methods.magnitude import channel_norms
from robustprune.structures.group_scores import group_scores
from tests.robustprune.structures.networks import (
    Residual,
    classifier,
    experienced,
    given,
    groups_of,
    masks,
    norms,
    pruned,
)


def residual() -> Classifier:
    """A stem of 3 channels, and a block whose output is added to them; scores are set by hand."""
    inner = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 3, 1, bias=False))
    network = nn.Sequential(
        nn.Conv2d(3, 3, 1, bias=False), Residual(inner), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    return Classifier(network, CIFAR10, classes=("a", "b"))


def scores(stem: list[float], last: list[float]) -> dict[str, Tensor]:
    return {
        "network.0": torch.tensor(stem, dtype=torch.float32).view(3, 1, 1, 1).expand(3, 3, 1, 1),
        "network.1.inner.0": torch.ones(2, 3, 1, 1),
        "network.1.inner.2": torch.tensor(last, dtype=torch.float32).view(3, 1, 1, 1).expand(3, 2, 1, 1),
    }


def test_coupled_filters_are_worth_the_mean_of_what_each_is_worth_in_its_layer() -> None:
    stem, inner = group_scores(scores([1, 2, 3], [60, 20, 10]), groups_of(residual()), comparable=False)
    torch.testing.assert_close(stem, torch.tensor([0.5 + 2, 1 + 2 / 3, 1.5 + 1 / 3]) / 2)
    torch.testing.assert_close(inner, torch.ones(2))


def test_scores_of_one_unit_count_as_they_are() -> None:
    stem, inner = group_scores(scores([1, 2, 3], [60, 20, 10]), groups_of(residual()), comparable=True)
    torch.testing.assert_close(stem, torch.tensor([61, 22, 13]) / 2)
    torch.testing.assert_close(inner, torch.ones(2))


@pytest.mark.parametrize(("last", "goes"), [([60, 20, 10], 1), ([10, 20, 60], 0), ([1, 1, 1], 0)])
def test_the_right_channel_of_a_residual_sum_goes(last: list[float], goes: int) -> None:
    network = residual()
    with torch.no_grad():
        network.get_parameter("network.0.weight").copy_(torch.arange(9.0).view(3, 3, 1, 1))
    expected = [row for row in range(3) if row != goes]
    pruned(network, ratio=1 / 3, scope="layer", scores=given(scores([1, 2, 3], last)))
    assert (network.get_parameter("network.0.weight")[:, 0, 0, 0] / 3).tolist() == expected
    inner = network.get_submodule("network.1.inner")
    assert len(inner.get_parameter("2.weight")) == inner.get_submodule("0").in_channels == 2
    assert network.get_submodule("network.4").in_features == 2


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_same_filters_go_whether_they_are_masked_or_removed_and_they_are_those_worth_least(scope: str) -> None:
    network = classifier([("projected", 1), ("depthwise", 2), ("projected", 0)])
    groups = groups_of(network)
    names = [name for group in groups for name in group.filters]
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.rand(network.get_parameter(f"{name}.weight").shape, generator=generator) for name in names}
    values = group_scores(drawn, groups, comparable=False)
    for ratio in (0.25, 0.5, 0.75):
        removed, masked = (
            masks(network, groups, ratio=ratio, scope=scope, scores=given(drawn), structure=structure)
            for structure in ("channels", "structured")
        )
        assert removed.keys() == masked.keys() == set(names)
        assert all(torch.equal(mask, masked[name]) for name, mask in removed.items())
        for group, worth in zip(groups, values, strict=True):
            for name, filters in group.filters.items():
                stays = masked[name].flatten(1).any(dim=1)
                chosen = worth.argsort(descending=True)[: int(stays.sum())]
                rows = filters.indices[filters.decisions.argsort()]
                assert sorted(rows[chosen].tolist()) == stays.nonzero()[:, 0].tolist()


def test_a_channels_norm_is_the_mean_of_all_that_comes_and_goes_with_it() -> None:
    network = residual()
    stem, inner = (channel_norms(network, group) for group in groups_of(network))
    first, reads, writes, linear = (
        network.get_parameter(f"network.{name}.weight") for name in ("0", "1.inner.0", "1.inner.2", "4")
    )
    with torch.no_grad():
        out = [weight.abs().flatten(1).sum(dim=1) for weight in (first, writes)]
        into = [weight.abs().flatten(2).sum(dim=(0, 2)) for weight in (reads,)]
        into.append(linear.abs().sum(dim=0))
    torch.testing.assert_close(stem, torch.stack(out + into).mean(dim=0))
    expected = [reads.abs().flatten(1).sum(dim=1), writes.abs().flatten(2).sum(dim=(0, 2))]
    torch.testing.assert_close(inner, torch.stack(expected).mean(dim=0).detach())


@pytest.mark.parametrize("name", ["small", "resnet8", "wrn-10-1"])
def test_channels_have_the_norms_that_torch_pruning_gives_them(name: str) -> None:
    from torch_pruning.pruner.importance import MagnitudeImportance

    torch.manual_seed(0)
    networks: dict[str, Callable[[], nn.Module]] = {
        "resnet8": lambda: cifar.resnet(8, classes=3),
        "wrn-10-1": lambda: cifar.wide_resnet(10, 1, classes=3),
    }
    if name == "small":
        network = classifier([("projected", 1), ("option A", 2), ("plain", 0)], hidden=5)
    else:
        network = experienced(Classifier(networks[name](), CIFAR10, classes=("a", "b", "c")))
    measure = MagnitudeImportance(p=1, group_reduction="mean", normalizer=None)
    for group in groups_of(network):
        torch.testing.assert_close(channel_norms(network, group), measure(group.dependencies), rtol=1e-5, atol=0)


def test_a_depthwise_filter_is_part_of_its_channels_norm() -> None:
    # torch-pruning leaves it out.
    network = classifier([("depthwise", 2)])
    stem, scale, depthwise, its_scale, writes = (
        network.get_parameter(f"network.{name}.weight").detach() for name in ("0.0", "0.1", "1.0", "1.1", "1.3")
    )
    parts = [weight.abs().flatten(1).sum(dim=1) for weight in (stem, depthwise)]
    parts.append(writes.abs().sum(dim=(0, 2, 3)))
    parts += [weight.abs() for weight in (scale, its_scale)]
    found = channel_norms(network, groups_of(network)[0])
    torch.testing.assert_close(found, torch.stack(parts).mean(dim=0))


def test_a_layer_of_zeros_is_worth_nothing_rather_than_nan() -> None:
    network = residual()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    groups = groups_of(network)
    for zeros in (
        norms(network, groups),
        {name: 0 * tensor for name, tensor in scores([1, 1, 1], [1, 1, 1]).items()},
    ):
        for comparable in (False, True):
            found = group_scores(zeros, groups, comparable=comparable)
            assert [values.tolist() for values in found] == [[0, 0, 0], [0, 0]]
