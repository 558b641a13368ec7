"""What stays of layers that compete by themselves or with each other, against rankings written out in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustprune.structures import SCOPES, CoupledGroup, Members, draw_masks
from robustprune.structures.scopes import across_layers, across_unlike_layers, scope_of, within_layers

# Small whole numbers, so that there are ties, negative scores and layers of zeros.
layers = st.lists(st.lists(st.integers(-3, 5), min_size=1, max_size=6), min_size=1, max_size=4)
ratios = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))

Place = tuple[int, int]


def tensors(scores: Sequence[Sequence[float]]) -> list[Tensor]:
    return [torch.tensor(each, dtype=torch.float32) for each in scores]


def places(kept: Sequence[Tensor]) -> set[Place]:
    """Return the layers and positions of what stays."""
    return {(layer, position) for layer, stays in enumerate(kept) for position in stays.nonzero()[:, 0].tolist()}


def best_first(scores: Sequence[Sequence[float]]) -> list[Place]:
    """Return all places: first the best of every layer, then the others by score; among equals the first."""
    every = [(layer, position) for layer, each in enumerate(scores) for position in range(len(each))]
    best = {(layer, each.index(max(each))) for layer, each in enumerate(scores)}
    return sorted(every, key=lambda place: (place not in best, -scores[place[0]][place[1]]))


@given(scores=layers, ratio=ratios)
def test_within_layers_the_largest_of_each_stay(scores: list[list[int]], ratio: float) -> None:
    expected = set()
    for layer, each in enumerate(scores):
        ranked = sorted(range(len(each)), key=lambda position: -each[position])
        expected |= {(layer, position) for position in ranked[: max(1, round((1 - ratio) * len(each)))]}
    assert places(within_layers(tensors(scores), ratio)) == expected


@given(scores=layers, ratio=ratios)
def test_across_layers_the_largest_of_all_stay_after_the_best_of_each(scores: list[list[int]], ratio: float) -> None:
    count = max(len(scores), round((1 - ratio) * sum(map(len, scores))))
    assert places(across_layers(tensors(scores), ratio)) == set(best_first(scores)[:count])


@given(scores=layers, ratio=ratios)
def test_unlike_layers_compete_by_their_scores_over_the_mean_magnitude(scores: list[list[int]], ratio: float) -> None:
    means = [sum(map(abs, each)) / len(each) for each in scores]
    relative = [[score / mean if mean else 0.0 for score in each] for each, mean in zip(scores, means, strict=True)]
    count = max(len(scores), round((1 - ratio) * sum(map(len, scores))))
    assert places(across_unlike_layers(tensors(scores), ratio)) == set(best_first(relative)[:count])


every_scope = pytest.mark.parametrize("scope", [within_layers, across_layers, across_unlike_layers])
ScopeFunction = Callable[[Sequence[Tensor], float], list[Tensor]]


@every_scope
@given(scores=layers, ratio=ratios)
def test_at_least_one_stays_in_every_layer(scope: ScopeFunction, scores: list[list[int]], ratio: float) -> None:
    assert all(stays.any() for stays in scope(tensors(scores), ratio))


@every_scope
@given(scores=layers)
def test_the_ends_of_the_range(scope: ScopeFunction, scores: list[list[int]]) -> None:
    assert all(stays.all() for stays in scope(tensors(scores), 0.0))
    assert [int(stays.sum()) for stays in scope(tensors(scores), 1.0)] == [1] * len(scores)


@every_scope
@given(scores=layers, ratios=st.tuples(ratios, ratios))
def test_pruning_more_only_removes(scope: ScopeFunction, scores: list[list[int]], ratios: tuple[float, float]) -> None:
    fewer, more = (places(scope(tensors(scores), ratio)) for ratio in sorted(ratios))
    assert more <= fewer


@given(scores=layers, ratio=ratios)
def test_the_total_is_rounded_once_over_all_layers_unless_the_last_of_a_layer_stays(
    scores: list[list[int]], ratio: float
) -> None:
    asked = round((1 - ratio) * sum(map(len, scores)))
    for scope in (across_layers, across_unlike_layers):
        found = sum(int(stays.sum()) for stays in scope(tensors(scores), ratio))
        assert found == max(asked, len(scores))


@every_scope
def test_of_equals_the_first_by_layer_and_position_stay(scope: ScopeFunction) -> None:
    equal = [torch.ones(4), torch.ones(4)]
    half = [[True, True, False, False], [True, True, False, False]]
    first = [[True, True, True, False], [True, False, False, False]]
    assert [stays.tolist() for stays in scope(equal, 0.5)] == (half if scope is within_layers else first)


@every_scope
def test_layers_keep_their_shape_and_memory_format_does_not_matter(scope: ScopeFunction) -> None:
    scores = [torch.randint(0, 4, (3, 2, 2, 2), generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    plain = [each.float() for each in scores]
    last = [each.to(memory_format=torch.channels_last) for each in plain]
    for first, second in zip(scope(plain, 0.5), scope(last, 0.5), strict=True):
        assert first.shape == (3, 2, 2, 2)
        assert first.dtype == torch.bool
        assert torch.equal(first, second)


@every_scope
def test_nan_is_an_error(scope: ScopeFunction) -> None:
    with pytest.raises(ValueError, match="1 of 2 importance scores are NaN"):
        scope([torch.ones(3), torch.tensor([1.0, torch.nan])], 0.5)


@pytest.mark.parametrize("tiny", [1e-30, 1e30])
def test_unlike_layers_compete_whatever_their_scale(tiny: float) -> None:
    one, other = torch.tensor([3.0, 2, 1, 1]), torch.tensor([5.0, 1, 1, 1])
    expected = across_unlike_layers([one, other], 0.5)
    for stays, wanted in zip(across_unlike_layers([one, other * tiny], 0.5), expected, strict=True):
        assert torch.equal(stays, wanted)
    # As they are, the layer of the larger scores keeps all it has.
    small, large = across_layers([one, other * 1e30], 0.4)
    assert (int(small.sum()), int(large.sum())) == (1, 4)


def test_scopes_by_name() -> None:
    assert SCOPES == ("layer", "global")
    assert scope_of("layer", comparable=True) is scope_of("layer", comparable=False) is within_layers
    assert scope_of("global", comparable=True) is across_layers
    assert scope_of("global", comparable=False) is across_unlike_layers


# What structures make of them


SCORES = {"small": torch.tensor([[1.0, 2], [3, 4]]), "large": torch.tensor([[10.0, 70], [30, 50]])}
GROUPS = [
    CoupledGroup(decisions=2, filters={name: Members(torch.arange(2), torch.arange(2))}) for name in ("small", "large")
]


@pytest.mark.parametrize(
    ("scope", "comparable", "small", "large"),
    [
        ("layer", True, [[False, False], [True, True]], [[False, True], [False, True]]),
        ("layer", False, [[False, False], [True, True]], [[False, True], [False, True]]),
        ("global", True, [[False, False], [False, True]], [[False, True], [True, True]]),
        # Over their means, 2.5 and 40: .4 .8 1.2 1.6 and .25 1.75 .75 1.25.
        ("global", False, [[False, False], [True, True]], [[False, True], [False, True]]),
    ],
)
def test_single_weights(scope: str, comparable: bool, small: list[list[bool]], large: list[list[bool]]) -> None:
    masks = draw_masks("unstructured", SCORES, 0.5, groups=[], scope=scope, comparable=comparable)
    assert {name: mask.tolist() for name, mask in masks.items()} == {"small": small, "large": large}


@pytest.mark.parametrize("structure", ["structured", "channels"])
def test_filters_of_all_layers_are_one_ranking(structure: str) -> None:
    scores = {"small": torch.tensor([[1.0], [2], [3], [4]]), "large": torch.tensor([[50.0], [20], [10], [40]])}
    groups = [CoupledGroup(decisions=4, filters={name: Members(torch.arange(4), torch.arange(4))}) for name in scores]

    def kept(scope: str, *, comparable: bool) -> list[list[bool]]:
        masks = draw_masks(structure, scores, 0.5, groups=groups, scope=scope, comparable=comparable)
        return [mask[:, 0].tolist() for mask in masks.values()]

    # By themselves, as they are, and over their means: .4 .8 1.2 1.6 and 1.67 .67 .33 1.33.
    assert kept("layer", comparable=False) == [[False, False, True, True], [True, False, False, True]]
    assert kept("global", comparable=True) == [[False, False, False, True], [True, True, False, True]]
    assert kept("global", comparable=False) == [[False, False, True, True], [True, False, False, True]]


@pytest.mark.parametrize(("comparable", "stays"), [(True, [False, True, False]), (False, [True, False, False])])
def test_coupled_filters_add_up_as_they_are_only_where_they_compare(comparable: bool, stays: list[bool]) -> None:
    # As they are, the large layer decides. Over their means, 2 and 20: 2, .5, .5 and .5, 1.25, 1.25.
    scores = {"small": torch.tensor([[4.0], [1], [1]]), "large": torch.tensor([[10.0], [25], [25]])}
    members = {name: Members(torch.arange(3), torch.arange(3)) for name in scores}
    masks = draw_masks(
        "structured",
        scores,
        2 / 3,
        groups=[CoupledGroup(decisions=3, filters=members)],
        scope="global",
        comparable=comparable,
    )
    assert masks["small"][:, 0].tolist() == masks["large"][:, 0].tolist() == stays
