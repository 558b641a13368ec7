"""What channels are worth, in closed form."""

import pytest
import torch
from torch import nn

from robustprune.classification.networks.classifier import CIFAR10, Classifier
from robustprune.classification.pruning import channel_groups, from_weights, l1, prune, random
from robustprune.detection.darknet.couplings import Group
from robustprune.structures.structured import structured
from tests.robustprune.classification.pruning.networks import SIZE, Residual, classifier


def residual() -> Classifier:
    """A stem of 3 channels, and a block whose output is added to them; scores are set by hand."""
    inner = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 3, 1, bias=False))
    network = nn.Sequential(
        nn.Conv2d(3, 3, 1, bias=False), Residual(inner), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    return Classifier(network, CIFAR10, classes=("a", "b"))


def scores(stem: list[float], last: list[float]) -> dict[str, torch.Tensor]:
    return {
        "network.0": torch.tensor(stem, dtype=torch.float32).view(3, 1, 1, 1).expand(3, 3, 1, 1),
        "network.1.inner.0": torch.ones(2, 3, 1, 1),
        "network.1.inner.2": torch.tensor(last, dtype=torch.float32).view(3, 1, 1, 1).expand(3, 2, 1, 1),
    }


def test_coupled_filters_are_worth_the_mean_of_what_each_is_worth_in_its_layer() -> None:
    groups = channel_groups(residual(), image_size=SIZE)
    stem, inner = from_weights(scores([1, 2, 3], [60, 20, 10]))(groups)
    torch.testing.assert_close(stem, torch.tensor([0.5 + 2, 1 + 2 / 3, 1.5 + 1 / 3]) / 2)
    torch.testing.assert_close(inner, torch.ones(2))


@pytest.mark.parametrize(("last", "goes"), [([60, 20, 10], 1), ([10, 20, 60], 0), ([1, 1, 1], 0)])
def test_the_right_channel_of_a_residual_sum_goes(last: list[float], goes: int) -> None:
    network = residual()
    with torch.no_grad():
        network.network[0].weight.copy_(torch.arange(9.0).view(3, 3, 1, 1))
    expected = [row for row in range(3) if row != goes]
    prune(
        network,
        sparsity=1 / 3,
        scope="layer",
        importance=from_weights(scores([1, 2, 3], last)),
        image_size=SIZE,
    )
    assert (network.network[0].weight[:, 0, 0, 0] / 3).tolist() == expected
    assert len(network.network[1].inner[2].weight) == network.network[1].inner[0].in_channels == 2
    assert network.network[4].in_features == 2


def test_scores_count_as_in_the_study_of_detectors() -> None:
    network = classifier([("projected", 1), ("depthwise", 2), ("projected", 0)])
    groups = channel_groups(network, image_size=SIZE)
    names = [name for group in groups for name in group.filters]
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.rand(network.get_submodule(name).weight.shape, generator=generator) for name in names}
    coupled: list[Group] = [
        {name: filters.indices[filters.decisions.argsort()][:, None] for name, filters in group.filters.items()}
        for group in groups
    ]
    for group, values, rows in zip(groups, from_weights(drawn)(groups), coupled, strict=True):
        for sparsity in (0.25, 0.5, 0.75):
            (name, *_) = group.filters
            expected = structured({name: drawn[name] for name in rows}, sparsity, [rows])[name].flatten(1).any(dim=1)
            chosen = values.argsort(descending=True)[: int(expected.sum())]
            assert sorted(rows[name][chosen, 0].tolist()) == expected.nonzero()[:, 0].tolist()


def test_l1_is_the_mean_norm_of_what_comes_and_goes_with_a_channel() -> None:
    network = residual()
    stem, inner = l1(channel_groups(network, image_size=SIZE))
    first, (reads, _, writes), linear = network.network[0], network.network[1].inner, network.network[4]
    with torch.no_grad():
        out = [layer.weight.abs().flatten(1).sum(dim=1) for layer in (first, writes)]
        into = [layer.weight.abs().flatten(2).sum(dim=(0, 2)) for layer in (reads,)]
        into.append(linear.weight.abs().sum(dim=0))
    torch.testing.assert_close(stem, torch.stack(out + into).mean(dim=0))
    expected = [reads.weight.abs().flatten(1).sum(dim=1), writes.weight.abs().flatten(2).sum(dim=(0, 2))]
    torch.testing.assert_close(inner, torch.stack(expected).mean(dim=0).detach())


def test_a_layer_of_zeros_is_worth_nothing_rather_than_nan() -> None:
    network = residual()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    groups = channel_groups(network, image_size=SIZE)
    for importance in (l1, from_weights({name: 0 * tensor for name, tensor in scores([1, 1, 1], [1, 1, 1]).items()})):
        assert [values.tolist() for values in importance(groups)] == [[0, 0, 0], [0, 0]]


def test_random_scores_follow_their_generator_alone() -> None:
    groups = channel_groups(classifier([("plain", 0), ("plain", 0)]), image_size=SIZE)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    importance = random(torch.Generator().manual_seed(3))
    first = importance(groups)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, same, other = (
        draw(groups)
        for draw in (importance, random(torch.Generator().manual_seed(3)), random(torch.Generator().manual_seed(4)))
    )
    assert all(map(torch.equal, first, again))
    assert all(map(torch.equal, first, same))
    assert not any(map(torch.equal, first, other))
    # Layers of the same width are drawn apart.
    assert len({tuple(values.tolist()) for values in first}) == 3
    assert all(values.min() >= 0 and values.max() < 1 for values in first)
