"""Scores of channels, handed on as scores of weights."""

import torch
from torch import Tensor, nn

from robustprune.structures import CoupledGroup, Layer, Members
from robustprune.structures.dependency_graph import dependency_groups
from robustprune.structures.groups import decided_layers
from robustprune.structures.spread import spread


def members(*pairs: tuple[int, int]) -> Members:
    """Return filters, and the decisions that they are subject to."""
    indices, decisions = zip(*pairs, strict=True)
    return Members(torch.tensor(indices), torch.tensor(decisions))


def test_every_weight_of_a_filter_has_the_score_of_its_channel_wherever_that_is_counted() -> None:
    groups = [
        CoupledGroup(decisions=2, filters={"wide": members((4, 0), (0, 1), (2, 0)), "narrow": members((1, 0), (0, 1))}),
        CoupledGroup(decisions=2, filters={"wide": members((3, 0), (1, 1))}),
    ]
    layers: dict[str, Layer] = {"wide": nn.Conv2d(2, 5, 3), "narrow": nn.Linear(3, 2)}
    found = spread([torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])], groups, layers)
    assert {name: tuple(scores.shape) for name, scores in found.items()} == {"wide": (5, 2, 3, 3), "narrow": (2, 3)}
    for name, expected in (("wide", [2.0, 4.0, 1.0, 3.0, 1.0]), ("narrow", [2.0, 1.0])):
        rows = found[name].flatten(1)
        assert torch.equal(rows, torch.tensor(expected)[:, None].expand_as(rows))
        assert found[name].is_contiguous()
        assert not found[name].requires_grad


class Joined(nn.Module):
    """Two convolutions side by side, added to a third that is as wide as both."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.both = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1)
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.left(x), self.right(x)], dim=1) + self.both(x)
        answers: Tensor = self.last(joined.mean((2, 3)))
        return answers


def test_channels_side_by_side_go_with_those_that_they_are_added_to() -> None:
    network = Joined()
    groups = dependency_groups(network, torch.zeros(1, 3, 4, 4))
    values = [torch.rand(group.decisions, generator=torch.Generator().manual_seed(0)) for group in groups]
    found = spread(values, groups, decided_layers(network, groups))
    side_by_side = torch.cat([found["left"][:, 0, 0, 0], found["right"][:, 0, 0, 0]])
    assert torch.equal(found["both"][:, 0, 0, 0], side_by_side)
    assert len(side_by_side.unique()) > 2
    assert sum(group.decisions for group in groups) == 6
