"""What a tracer is misled by stays whole; what is left to prune computes what it should."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.networks.pruning import channel_groups, kept_whole
from robustprune.structures.dependency_graph import dependency_groups
from robustprune.structures.removal import remove
from robustprune.structures.trial import removable
from tests.support import batch_norms

IMAGE = torch.zeros(1, 3, 8, 8)


class Shuffled(nn.Module):
    """Channels of two groups take turns, as in ShuffleNet."""

    def forward(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        pairs = x.view(count, 2, channels // 2, height, width)
        return pairs.transpose(1, 2).reshape(count, channels, height, width)


class Gated(nn.Module):
    """One half of the channels gates the other."""

    def forward(self, x: Tensor) -> Tensor:
        passed, gate = x.chunk(2, dim=1)
        return passed * gate.sigmoid()


class Swapped(nn.Module):
    """The first half of the channels goes behind the second."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        return torch.cat([x[:, half:], x[:, :half]], dim=1)


class Shares(nn.Module):
    """Channels become shares of a whole."""

    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(dim=1)


CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "group norm": (lambda: nn.GroupNorm(2, 8), 8),
    "one group": (lambda: nn.GroupNorm(1, 8), 8),
    "chunk": (Gated, 4),
    "shuffle": (Shuffled, 8),
    "torch's shuffle": (lambda: nn.ChannelShuffle(2), 8),
    "pixel shuffle": (lambda: nn.PixelShuffle(2), 2),
    "pixel unshuffle": (lambda: nn.PixelUnshuffle(2), 32),
    "swapped": (Swapped, 8),
    "softmax": (Shares, 8),
}


def network(middle: nn.Module, channels: int) -> Classifier:
    """Return convolutions around `middle`, which takes 8 channels and gives `channels`."""
    torch.manual_seed(0)
    layers = (
        *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Conv2d(6, 8, 3, padding=1), middle),
        *(nn.Conv2d(channels, 5, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)),
    )
    made = Classifier(nn.Sequential(*layers), CIFAR10, classes=("a", "b", "c"))
    batch_norms.draw(made)
    return made.eval()


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_followed_stays_whole_and_is_named(case: str) -> None:
    middle, channels = CASES[case]
    made = network(middle(), channels)
    groups = channel_groups(made, IMAGE)
    assert [list(group.filters) for group in groups] == [["network.0"], ["network.5"]]
    assert kept_whole(made, IMAGE) == ["network.3"]
    remove(groups, [torch.arange(group.decisions) % 2 == 0 for group in groups])
    assert made(torch.rand(2, 3, 8, 8)).isfinite().all()


def test_where_all_can_go_nothing_is_named() -> None:
    made = network(nn.Identity(), 8)
    assert [list(group.filters) for group in channel_groups(made, IMAGE)] == [
        ["network.0"],
        ["network.3"],
        ["network.5"],
    ]
    assert kept_whole(made, IMAGE) == []


def test_the_network_tried_stays_as_it_is() -> None:
    made = network(nn.Identity(), 8)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    removable(made, dependency_groups(made, IMAGE), find=dependency_groups, example=IMAGE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    assert {tensor.dtype for tensor in made.parameters()} == {torch.float32}
