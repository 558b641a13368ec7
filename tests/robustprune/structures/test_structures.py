"""What each structure keeps of a layer."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustprune.masks import keep_count
from robustprune.structures import STRUCTURES, structured, unstructured

shapes = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))
ratios = st.one_of(st.floats(0, 1), st.sampled_from([0.25, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 0.99]))


def scores(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@given(shape=shapes, ratio=ratios)
def test_unstructured_keeps_the_largest_weights(shape: tuple[int, ...], ratio: float) -> None:
    importance = scores(shape)
    mask = unstructured(importance, ratio)
    assert mask.shape == importance.shape
    assert int(mask.sum()) == keep_count(ratio, importance.numel())
    if not mask.all():
        assert importance[mask].min() >= importance[~mask].max()


@given(shape=shapes, ratio=ratios)
def test_structured_keeps_whole_filters(shape: tuple[int, ...], ratio: float) -> None:
    importance = scores(shape)
    mask = structured(importance, ratio)
    assert mask.shape == importance.shape
    filters = mask.flatten(1)
    assert torch.equal(filters.all(dim=1), filters.any(dim=1))
    kept = filters.all(dim=1)
    assert int(kept.sum()) == keep_count(ratio, shape[0])
    if not kept.all():
        means = importance.double().flatten(1).mean(dim=1)
        assert means[kept].min() >= means[~kept].max() - 1e-6


def test_a_filter_is_worth_the_mean_of_its_weights() -> None:
    importance = torch.zeros(3, 1, 2, 2)
    importance[0, 0, 0, 0] = 10  # the single largest weight, and a mean of 2.5
    importance[1] = 3
    importance[2] = 2
    assert structured(importance, 1 / 3).flatten(1).all(dim=1).tolist() == [True, True, False]
    assert structured(importance, 2 / 3).flatten(1).all(dim=1).tolist() == [False, True, False]


@pytest.mark.parametrize("name", STRUCTURES)
@given(shape=shapes)
def test_the_ends_of_the_range(name: str, shape: tuple[int, ...]) -> None:
    everything, least = (STRUCTURES[name](scores(shape), ratio) for ratio in (0.0, 1.0))
    assert everything.all()
    assert int(least.sum()) == (1 if name == "unstructured" else least[0].numel())


@pytest.mark.parametrize("name", STRUCTURES)
def test_pruning_more_only_removes(name: str) -> None:
    importance = scores((24, 12, 3, 3))
    masks = [STRUCTURES[name](importance, ratio) for ratio in (0.25, 0.5, 0.75, 0.9, 0.99)]
    for more, fewer in pairwise(masks):
        assert (more | ~fewer).all()


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_mask_owns_its_memory(name: str) -> None:
    mask = STRUCTURES[name](scores((4, 3, 2, 2)), 0.5)
    assert mask.is_contiguous()
    before = int(mask.sum())
    mask[0, 0, 0, 0] ^= True
    assert abs(int(mask.sum()) - before) == 1


@pytest.mark.parametrize("name", STRUCTURES)
def test_nan_is_refused(name: str) -> None:
    importance = scores((4, 3, 2, 2))
    importance[1, 2, 0, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        STRUCTURES[name](importance, 0.5)
