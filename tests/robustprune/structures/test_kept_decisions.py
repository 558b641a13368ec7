"""From masks back to channels, and networks without those that do not stay."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.couplings import couplings
from robustprune.structures import CoupledGroup, Members
from robustprune.structures.dependency_graph import dependency_groups
from robustprune.structures.group_scores import group_scores
from robustprune.structures.groups import filter_masks
from robustprune.structures.kinds.filters import filters
from robustprune.structures.removal import ChannelCounts, channel_counts, kept_decisions, remove
from robustprune.structures.scopes import across_layers, across_unlike_layers, within_layers

# Two layers of four filters, coupled but for the last two of `wide`, which are one decision.
GROUPS = [
    CoupledGroup(
        decisions=4,
        filters={
            "wide": Members(torch.arange(4), torch.arange(4)),
            "narrow": Members(torch.tensor([3, 1, 0, 2]), torch.arange(4)),
        },
    ),
    CoupledGroup(decisions=1, filters={"wide": Members(torch.tensor([4, 5]), torch.tensor([0, 0]))}),
]


def masks_of(wide: list[int], narrow: list[int]) -> dict[str, Tensor]:
    """Return masks of which these filters are left as a whole."""
    masks = {"wide": torch.zeros(6, 2, 3, 3, dtype=torch.bool), "narrow": torch.zeros(4, 5, dtype=torch.bool)}
    masks["wide"][wide], masks["narrow"][narrow] = True, True
    return masks


def test_channels_whose_filters_are_left_stay() -> None:
    found = kept_decisions(GROUPS, masks_of([1, 2, 4, 5], [1, 0]))
    assert [stays.tolist() for stays in found] == [[False, True, True, False], [True]]
    assert all(stays.dtype == torch.bool for stays in found)


def test_a_channel_stays_while_any_weight_of_any_of_its_filters_does() -> None:
    masks = masks_of([], [])
    masks["wide"][0, 1, 2, 2] = True
    masks["narrow"][2, 4] = True  # which is the filter of the last decision
    masks["wide"][5, 0, 0, 0] = True
    assert [stays.tolist() for stays in kept_decisions(GROUPS, masks)] == [[True, False, False, True], [True]]


def test_a_layer_without_a_mask_stays() -> None:
    masks = masks_of([], [])
    del masks["narrow"]
    assert [stays.tolist() for stays in kept_decisions(GROUPS, masks)] == [[True] * 4, [False]]
    assert all(stays.all() for stays in kept_decisions(GROUPS, {}))


@given(kept=st.tuples(st.lists(st.booleans(), min_size=4, max_size=4), st.lists(st.booleans(), min_size=1, max_size=1)))
def test_filters_of_decisions_and_decisions_of_filters_are_inverse(kept: tuple[list[bool], list[bool]]) -> None:
    decided = [torch.tensor(stays) for stays in kept]
    rows = filter_masks(GROUPS, decided, masks_of([], []))
    assert {name: mask.shape for name, mask in rows.items()} == {"wide": (6,), "narrow": (4,)}
    assert rows["wide"][:4].tolist() == [bool(rows["narrow"][index]) for index in (3, 1, 0, 2)]
    assert rows["wide"][4] == rows["wide"][5]
    masks = {name: mask[:, None] for name, mask in rows.items()}
    for found, expected in zip(kept_decisions(GROUPS, masks), decided, strict=True):
        assert torch.equal(found, expected)


def test_filters_that_no_group_decides_on_stay() -> None:
    rows = filter_masks(GROUPS[1:], [torch.tensor([False])], masks_of([], []))
    assert {name: mask.tolist() for name, mask in rows.items()} == {"wide": [True] * 4 + [False] * 2}


@pytest.mark.parametrize("scope", [within_layers, across_layers, across_unlike_layers])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.75, 1.0])
def test_masks_of_filters_keep_what_the_scope_decides(nano: Detector, scope: object, ratio: float) -> None:
    groups = couplings(nano, nano.prunable_layers())
    generator = torch.Generator().manual_seed(0)
    importance = {
        name: torch.rand(layer.weight.shape, generator=generator) for name, layer in nano.prunable_layers().items()
    }
    assert callable(scope)
    found = kept_decisions(groups, filters(importance, ratio, groups, scope))
    decided = scope(group_scores(importance, groups, comparable=scope is across_layers), ratio)
    for stays, expected in zip(found, decided, strict=True):
        assert torch.equal(stays, expected)


# Removing


class Chain(nn.Module):
    """Two convolutions, a batch norm behind the first, and a layer that reads every pixel of the second."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.last = nn.Conv2d(4, 5, 1, bias=False), nn.Linear(5 * 16, 2)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(self.second(self.norm(self.first(x)).relu()).flatten(1))
        return output


EXAMPLE = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_channels_leave_with_all_that_depends_on_them() -> None:
    network = Chain()
    before = copy.deepcopy(network)
    groups = dependency_groups(network, EXAMPLE)
    kept = [torch.tensor([True, False, True, False]), torch.tensor([False, True, True, True, True])]
    remove(groups, kept)
    assert before.norm.bias is not None
    expected = {
        "first.weight": before.first.weight[[0, 2]],
        "norm.bias": before.norm.bias[[0, 2]],
        "second.weight": before.second.weight[1:][:, [0, 2]],
        "last.weight": before.last.weight[:, 16:],  # each channel is 16 pixels
        "last.bias": before.last.bias,
    }
    for name, tensor in expected.items():
        assert torch.equal(network.get_parameter(name), tensor), name
    assert network.norm.running_mean is not None
    assert network.norm.running_mean.shape == (2,)
    assert network(EXAMPLE).shape == (1, 2)


def test_a_network_of_which_all_stays_keeps_every_bit() -> None:
    network = Chain()
    before = copy.deepcopy(network.state_dict())
    groups = dependency_groups(network, EXAMPLE)
    remove(groups, [torch.ones(group.decisions, dtype=torch.bool) for group in groups])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_what_is_left_is_counted_by_group() -> None:
    kept = [torch.tensor([True, False, False]), torch.tensor([True, True]), torch.tensor([True])]
    # A group of one channel was at its last from the start.
    assert channel_counts(kept) == ChannelCounts(
        channels_total=6, channels_kept=4, fewest_channels=1, layers_at_floor=1
    )
