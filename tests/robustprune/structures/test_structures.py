"""What each structure keeps of layers by themselves and of layers that are coupled."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.couplings import couplings
from robustprune.structures import STRUCTURES, CoupledGroup, Masks, Members
from robustprune.structures.kinds.filters import filters
from robustprune.structures.kinds.unstructured import unstructured
from robustprune.structures.masks import keep_count
from robustprune.structures.scopes import within_layers
from tests.robustprune.detection.pruned import masks_by, rows_of

RATIOS = [0.25, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 0.99]

shapes = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))
ratios = st.one_of(st.floats(0, 1), st.sampled_from(RATIOS))


def scores(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def together(*names: str, filters: int) -> CoupledGroup:
    """Return the group in which the i-th filters of layers are pruned together."""
    return group_of({name: torch.arange(filters).unsqueeze(1) for name in names})


def group_of(rows: Mapping[str, Tensor]) -> CoupledGroup:
    """Return the group that decides on the filters of each row, (decisions, filters of each), together."""
    members = {
        name: Members(own.flatten(), torch.arange(len(own)).repeat_interleave(own.shape[1]))
        for name, own in rows.items()
    }
    return CoupledGroup(decisions=len(next(iter(rows.values()))), filters=members)


def structured(importance: Mapping[str, Tensor], ratio: float, groups: Sequence[CoupledGroup]) -> Masks:
    return filters(importance, ratio, groups, within_layers)


def mask_of(structure: str, importance: Tensor, ratio: float) -> Tensor:
    """Return the mask of a layer that is coupled with none."""
    return masks_by(structure, {"layer": importance}, ratio, [together("layer", filters=len(importance))])["layer"]


def filters_of(mask: Tensor) -> list[bool]:
    """Return which filters are kept, none of them in part."""
    filters = mask.flatten(1)
    assert torch.equal(filters.all(dim=1), filters.any(dim=1))
    return filters.all(dim=1).tolist()


@given(shape=shapes, ratio=ratios)
def test_unstructured_keeps_the_largest_weights(shape: tuple[int, ...], ratio: float) -> None:
    importance = scores(shape)
    mask = mask_of("unstructured", importance, ratio)
    assert mask.shape == importance.shape
    assert int(mask.sum()) == keep_count(ratio, importance.numel())
    if not mask.all():
        assert importance[mask].min() >= importance[~mask].max()


@given(shape=shapes, ratio=ratios)
def test_structured_keeps_whole_filters(shape: tuple[int, ...], ratio: float) -> None:
    importance = scores(shape)
    mask = mask_of("structured", importance, ratio)
    assert mask.shape == importance.shape
    kept = torch.tensor(filters_of(mask))
    assert int(kept.sum()) == keep_count(ratio, shape[0])
    if not kept.all():
        means = importance.double().flatten(1).mean(dim=1)
        assert means[kept].min() >= means[~kept].max() - 1e-6


def test_a_filter_is_worth_the_mean_of_its_weights() -> None:
    importance = torch.zeros(3, 1, 2, 2)
    importance[0, 0, 0, 0] = 10  # the single largest weight, and a mean of 2.5
    importance[1] = 3
    importance[2] = 2
    assert filters_of(mask_of("structured", importance, 1 / 3)) == [True, True, False]
    assert filters_of(mask_of("structured", importance, 2 / 3)) == [False, True, False]


@pytest.mark.parametrize("scale", [1e-45, 1.0, 1e38])
def test_among_equal_filters_of_a_layer_by_itself_the_first_are_kept_whatever_the_scale(scale: float) -> None:
    importance = torch.tensor([0.0, 1, 2, 1, 2, 1, 0]).view(-1, 1, 1, 1) * scale
    assert filters_of(mask_of("structured", importance, 3 / 7)) == [False, True, True, True, True, False, False]


@pytest.mark.parametrize("name", STRUCTURES)
@given(shape=shapes)
def test_the_ends_of_the_range(name: str, shape: tuple[int, ...]) -> None:
    everything, least = (mask_of(name, scores(shape), ratio) for ratio in (0.0, 1.0))
    assert everything.all()
    assert int(least.sum()) == (1 if name == "unstructured" else least[0].numel())


@pytest.mark.parametrize("name", STRUCTURES)
def test_pruning_more_only_removes(nano: Detector, name: str) -> None:
    importance, groups = random_scores(nano)
    drawn = [masks_by(name, importance, ratio, groups) for ratio in RATIOS]
    for more, fewer in pairwise(drawn):
        assert all((more[layer] | ~fewer[layer]).all() for layer in importance)


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_mask_owns_its_memory(name: str) -> None:
    mask = mask_of(name, scores((4, 3, 2, 2)), 0.5)
    assert mask.is_contiguous()
    before = int(mask.sum())
    mask[0, 0, 0, 0] ^= True
    assert abs(int(mask.sum()) - before) == 1


@pytest.mark.parametrize("name", STRUCTURES)
def test_nan_is_refused(name: str) -> None:
    importance = {layer: scores((4, 3, 2, 2)) for layer in ("first", "second")}
    importance["second"][1, 2, 0, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        masks_by(name, importance, 0.5, [together("first", "second", filters=4)])


# Coupled layers


def random_scores(detector: Detector, *, heads: bool = False) -> tuple[dict[str, Tensor], list[CoupledGroup]]:
    layers = detector.prunable_layers(heads=heads)
    importance = {name: scores(tuple(layer.weight.shape), seed) for seed, (name, layer) in enumerate(layers.items())}
    return importance, couplings(detector, layers)


def column(*values: float) -> Tensor:
    """Return the scores of a layer whose filters have one weight each."""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)


def test_layers_have_an_equal_say_whatever_their_scale() -> None:
    # Over their means: 1.5, 0.5, 1 and 0.2, 2, 0.8, together 0.85, 1.25, 0.9.
    importance = {"small": column(3e-9, 1e-9, 2e-9), "large": column(1, 10, 4)}
    for keep, expected in ((1, [False, True, False]), (2, [False, True, True])):
        masks = structured(importance, 1 - keep / 3, [together("small", "large", filters=3)])
        assert filters_of(masks["small"]) == filters_of(masks["large"]) == expected


def test_a_layer_of_zeros_leaves_the_choice_to_the_others() -> None:
    importance = {"zeros": torch.zeros(4, 2, 1, 1), "scored": column(1, 4, 3, 2)}
    group = together("zeros", "scored", filters=4)
    masks = structured(importance, 0.5, [group])
    assert filters_of(masks["zeros"]) == filters_of(masks["scored"]) == [False, True, True, False]
    nothing = structured({name: torch.zeros(4, 1, 1, 1) for name in group.filters}, 0.5, [group])
    assert filters_of(nothing["zeros"]) == [True, True, False, False]


def test_several_filters_of_a_layer_may_be_one_decision() -> None:
    group = group_of({"read": torch.tensor([[0], [1]]), "twice": torch.tensor([[0, 1], [2, 3]])})
    # The mean of 9 and 1 is less than that of 6 and 6.
    masks = structured({"read": column(1, 1), "twice": column(9, 1, 6, 6)}, 0.5, [group])
    assert filters_of(masks["read"]) == [False, True]
    assert filters_of(masks["twice"]) == [False, False, True, True]


def test_a_layer_may_be_coupled_in_part() -> None:
    groups = [together("wide", "narrow", filters=2), group_of({"wide": torch.tensor([[2], [3]])})]
    masks = structured({"wide": column(1, 2, 9, 8), "narrow": column(1, 1)}, 0.5, groups)
    assert filters_of(masks["narrow"]) == [False, True]
    assert filters_of(masks["wide"]) == [False, True, True, False]


@pytest.mark.parametrize("name", ["yolov3-nano", "yolov3-tiny"])
@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("ratio", [0.0, *RATIOS, 1.0])
def test_the_ratio_asked_for_is_the_ratio_of_decisions_pruned(name: str, heads: bool, ratio: float) -> None:
    importance, groups = random_scores(Detector.from_cfg(name), heads=heads)
    masks = structured(importance, ratio, groups)
    assert masks.keys() == importance.keys()
    for group in groups:
        kept = {layer: torch.tensor(filters_of(masks[layer]))[rows] for layer, rows in rows_of(group).items()}
        first, *others = kept.values()
        assert int(first.sum()) == keep_count(ratio, len(first))
        assert all(torch.equal(first, other) for other in others)


def test_single_weights_are_not_coupled(nano: Detector) -> None:
    importance, groups = random_scores(nano)
    coupled: Masks = unstructured(importance, 0.75, groups, within_layers)
    assert all(torch.equal(coupled[name], mask_of("unstructured", importance[name], 0.75)) for name in importance)
