"""How many channels stay, and which."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustprune.structures import SCOPES
from robustprune.structures.masks import keep_count
from robustprune.structures.scopes import across_unlike_layers, scope_of, within_layers

importances = st.lists(
    st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=8).map(torch.tensor), min_size=1, max_size=5
)
ratios = st.floats(0, 1)


@given(importances, ratios)
def test_within_layers_each_group_loses_its_fraction(importance: list[Tensor], ratio: float) -> None:
    for scores, stays in zip(importance, within_layers(importance, ratio), strict=True):
        assert stays.sum() == keep_count(ratio, len(scores))
        if not stays.all():
            assert scores[stays].min() >= scores[~stays].max()


@given(importances, ratios)
def test_across_layers_all_groups_together_lose_it(importance: list[Tensor], ratio: float) -> None:
    kept = across_unlike_layers(importance, ratio)
    total = sum(map(len, importance))
    assert sum(int(stays.sum()) for stays in kept) == max(keep_count(ratio, total), len(importance))
    for scores, stays in zip(importance, kept, strict=True):
        assert stays.any()
        if not stays.all():
            assert scores[stays].min() >= scores[~stays].max()


def test_groups_compete_by_how_much_a_channel_stands_out() -> None:
    importance = [torch.tensor([1.0, 2, 3]), torch.tensor([100.0, 10, 10, 40])]
    # Over the means, 2 and 40: .5 1 1.5 and 2.5 .25 .25 1.
    assert [stays.tolist() for stays in across_unlike_layers(importance, 1 - 4 / 7)] == [
        [False, True, True],
        [True, False, False, True],
    ]
    # The second group is scaled down; nothing else changes.
    importance[1] /= 1000
    assert [stays.tolist() for stays in across_unlike_layers(importance, 5 / 7)] == [
        [False, False, True],
        [True] + 3 * [False],
    ]


def test_the_best_of_a_group_stays_however_little_it_stands_out() -> None:
    importance = [torch.tensor([1.0, 1, 1]), torch.tensor([0.0, 0, 0, 0, 9])]
    assert [stays.tolist() for stays in across_unlike_layers(importance, 0.75)] == [
        [True, False, False],
        4 * [False] + [True],
    ]


def test_of_equals_the_first_stay_and_zeros_are_no_harm() -> None:
    for name in SCOPES:
        for comparable in (False, True):
            decide = scope_of(name, comparable=comparable)
            assert decide([torch.zeros(4)], 0.5)[0].tolist() == [True, True, False, False]


@pytest.mark.parametrize("comparable", [False, True])
@pytest.mark.parametrize("scope", SCOPES)
def test_nan_is_an_error(scope: str, comparable: bool) -> None:
    with pytest.raises(ValueError, match="1 of 2 importance scores are NaN"):
        scope_of(scope, comparable=comparable)([torch.tensor([1.0, torch.nan])], 0.5)
