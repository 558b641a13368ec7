"""Small networks with every kind of coupling, and what pruning them has to equal."""

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.networks.cifar import ChannelShortcut
from robustprune.classification.networks.pruning import channel_groups
from robustprune.methods.magnitude import channel_norms
from robustprune.structures import CoupledGroup, Masks, draw_masks
from robustprune.structures.groups import decided_layers
from robustprune.structures.removal import ChannelCounts, channel_counts, kept_decisions, remove
from robustprune.structures.spread import spread
from tests.support import batch_norms

Scores = Callable[[nn.Module, Sequence[CoupledGroup]], Mapping[str, Tensor]]
"""From a network and its groups to scores of the weights of every layer that they decide on."""

SIZE = 8


class Residual(nn.Module):
    """A shortcut around `inner`, through `outer` where that is not None."""

    def __init__(self, inner: nn.Module, outer: nn.Module | None = None) -> None:
        super().__init__()
        self.inner, self.outer = inner, outer or nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        rectified: Tensor = self.relu(self.inner(x) + self.outer(x))
        return rectified


def convolution(
    in_channels: int, channels: int, *, size: int = 3, groups: int = 1, bias: bool = False
) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, channels, size, padding=size // 2, groups=groups, bias=bias),
        nn.BatchNorm2d(channels),
    ]


def block(kind: str, in_channels: int, channels: int) -> nn.Module:
    if kind == "plain":
        return nn.Sequential(*convolution(in_channels, channels, bias=True), nn.ReLU())
    if kind == "depthwise":
        return nn.Sequential(
            *convolution(in_channels, in_channels, groups=in_channels),
            nn.ReLU6(),
            *convolution(in_channels, channels, size=1),
        )
    inner = nn.Sequential(*convolution(in_channels, 5), nn.ReLU(), *convolution(5, channels))
    if kind == "projected":
        return Residual(inner, nn.Sequential(*convolution(in_channels, channels, size=1)))
    assert kind == "option A"
    return Residual(inner, ChannelShortcut(in_channels, max(in_channels, channels), stride=1))


KINDS = ("plain", "depthwise", "projected", "option A")


def classifier(blocks: Sequence[tuple[str, int]], *, hidden: int | None = None, seed: int = 0) -> Classifier:
    """Return an experienced network of the blocks given, each of some channels more than the one before."""
    torch.manual_seed(seed)
    channels = 4
    modules: list[nn.Module] = [nn.Sequential(*convolution(3, channels), nn.ReLU())]
    for kind, more in blocks:
        modules.append(block(kind, channels, channels + more))
        channels += more
    head: list[nn.Module] = [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    if hidden is not None:
        head += [nn.Linear(4 * channels, hidden), nn.ReLU()]
    head.append(nn.Linear(4 * channels if hidden is None else hidden, 3))
    return experienced(Classifier(nn.Sequential(*modules, *head), CIFAR10, classes=("a", "b", "c")))


def experienced(classifier: Classifier) -> Classifier:
    """Give batch norm the statistics, scales and shifts of no fresh network."""
    batch_norms.draw(classifier)
    return classifier.eval()


def images(*, size: int = SIZE, count: int = 2) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def groups_of(classifier: nn.Module, *, size: int = SIZE) -> list[CoupledGroup]:
    return channel_groups(classifier, torch.zeros(1, 3, size, size))


def norms(network: nn.Module, groups: Sequence[CoupledGroup]) -> dict[str, Tensor]:
    """Return the L1 norm of its channel for every weight."""
    return spread([channel_norms(network, group) for group in groups], groups, decided_layers(network, groups))


def drawn(seed: int = 0) -> Scores:
    """Return random scores of channels, the same at every call."""

    def draw(network: nn.Module, groups: Sequence[CoupledGroup]) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        values = [torch.rand(group.decisions, generator=generator) for group in groups]
        return spread(values, groups, decided_layers(network, groups))

    return draw


def given(scores: Mapping[str, Tensor]) -> Scores:
    return lambda network, groups: scores


def masks(
    network: nn.Module, groups: Sequence[CoupledGroup], *, ratio: float, scope: str, scores: Scores, **options: str
) -> Masks:
    """Return which weights stay, of every layer that is pruned; the network is left as it is."""
    structure = options.get("structure", "channels")
    return draw_masks(structure, scores(network, groups), ratio, groups=groups, scope=scope, comparable=False)


def pruned(network: nn.Module, *, ratio: float, scope: str, scores: Scores, size: int = SIZE) -> ChannelCounts:
    """Remove channels of a network, in place."""
    groups = groups_of(network, size=size)
    kept = kept_decisions(groups, masks(network, groups, ratio=ratio, scope=scope, scores=scores))
    remove(groups, kept)
    return channel_counts(kept)


def unpruned(network: nn.Module, *, size: int = SIZE) -> ChannelCounts:
    return channel_counts([torch.ones(group.decisions, dtype=torch.bool) for group in groups_of(network, size=size)])


@torch.no_grad()
def silenced(classifier: Classifier, kept: Sequence[Tensor], *, size: int = SIZE) -> Classifier:
    """Return a copy of the same shape in which channels that do not stay carry zeros wherever they are."""
    classifier = copy.deepcopy(classifier)
    for group, stays in zip(groups_of(classifier, size=size), kept, strict=True):
        for item in group.dependencies:
            module = item.dep.target.module
            gone = torch.tensor(item.idxs)[~stays[torch.tensor(item.root_idxs)]]
            reads = "in_channels" in item.dep.handler.__name__
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d) and not reads:
                module.weight[gone] = 0
                if module.bias is not None:
                    module.bias[gone] = 0
            elif isinstance(module, nn.BatchNorm2d):
                module.weight[gone] = 0
                module.bias[gone] = 0
            elif isinstance(module, ChannelShortcut) and not reads:
                module.source[gone] = -1
    return classifier
