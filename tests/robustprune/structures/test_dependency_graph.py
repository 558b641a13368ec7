"""Which channels go together."""

import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer

from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.networks import cifar, torchvision_networks
from robustprune.structures import CoupledGroup
from tests.robustprune.structures.networks import SIZE, classifier, groups_of


def wrapped(network: nn.Module) -> Classifier:
    return Classifier(network, CIFAR10, classes=("a", "b"))


def layers(classifier: Classifier, *, size: int = 32) -> list[tuple[int, list[str]]]:
    groups = groups_of(classifier, size=size)
    return [(g.decisions, [name.removeprefix("network.") for name in g.filters]) for g in groups]


def test_a_residual_sum_couples_its_terms() -> None:
    found = layers(wrapped(cifar.resnet(8, classes=2)))
    assert found == [
        (16, ["conv1", "layer1.0.conv2"]),
        (16, ["layer1.0.conv1"]),
        (32, ["layer2.0.conv1"]),
        (32, ["layer2.0.conv2"]),
        (64, ["layer3.0.conv1"]),
        (64, ["layer3.0.conv2"]),
    ]


def test_shortcuts_with_weights_are_coupled_with_what_they_are_added_to() -> None:
    found = {frozenset(names) for _, names in layers(wrapped(cifar.wide_resnet(10, 1, classes=2)))}
    assert frozenset({"block2.layer.0.conv2", "block2.layer.0.convShortcut"}) in found
    assert frozenset({"block2.layer.0.conv1"}) in found


def test_a_depthwise_filter_goes_with_the_channel_it_reads() -> None:
    network = classifier([("depthwise", 2)])
    assert layers(network, size=SIZE) == [(4, ["0.0", "1.0"]), (6, ["1.3"])]


def test_every_filter_is_decided_on_once() -> None:
    network = wrapped(torchvision_networks.mobilenet_v2(classes=2, image_size=32))
    groups = groups_of(network, size=32)
    seen = [name for group in groups for name in group.filters]
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    assert sorted(seen) == sorted(convolutions)
    for group in groups:
        for name, filters in group.filters.items():
            assert sorted(filters.indices.tolist()) == list(range(len(network.get_parameter(f"{name}.weight"))))
            assert sorted(filters.decisions.tolist()) == list(range(group.decisions))


def test_of_a_transformer_that_tells_nothing_the_hidden_channels_of_mlps_can_go() -> None:
    network = SwinTransformer([2, 2], 8, depths=[1, 2], num_heads=[2, 2], window_size=[4, 4], num_classes=2)
    found = layers(wrapped(network), size=16)
    assert found == [(8 * 4, ["features.1.0.mlp.0"]), *((16 * 4, [f"features.3.{index}.mlp.0"]) for index in (0, 1))]


def test_grouped_convolutions_and_what_they_read_stay_whole() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(8, 6, 1), nn.Flatten(), nn.Linear(6 * 16, 2)
    )
    assert layers(wrapped(network), size=8) == [(6, ["2"])]


class Scaled(nn.Module):
    """Has a scale of its own for every channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def test_channels_that_a_loose_parameter_sees_stay_whole() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), Scaled(4), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)
    )
    assert layers(wrapped(network), size=8) == [(5, ["2"])]


def test_groups_do_not_depend_on_the_size_of_images() -> None:
    network = wrapped(cifar.resnet(14, classes=2))
    assert layers(network, size=8) == layers(network, size=32)


def test_a_group_tells_who_reads_its_channels_and_which_batch_norms_are_theirs() -> None:
    def members(group: CoupledGroup) -> list[list[str]]:
        return [
            [name.removeprefix("network.") for name in kind] for kind in (group.filters, group.readers, group.norms)
        ]

    stem, inner, stream = groups_of(classifier([("projected", 1)], hidden=None))
    assert members(stem) == [["0.0"], ["1.inner.0", "1.outer.0"], ["0.1"]]
    assert members(inner) == [["1.inner.0"], ["1.inner.3"], ["1.inner.1"]]
    assert members(stream) == [["1.inner.3", "1.outer.0"], ["4"], ["1.inner.4", "1.outer.1"]]
    # What is flattened gives a fully connected layer as many inputs as there are pixels left of a channel.
    assert stream.readers["network.4"].decisions.tolist() == [channel for channel in range(5) for _ in range(4)]
    assert stream.readers["network.4"].indices.tolist() == list(range(20))
