"""Masks as sets of weights: exact counts, a fixed order of ties, and weights that keep every bit."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustprune.structures.masks import apply, keep_count, largest

sizes = st.integers(1, 10**7)
ratios = st.floats(0, 1)


@given(ratio=ratios, total=sizes)
def test_keep_count_is_the_nearest_whole_number_of_at_least_one(ratio: float, total: int) -> None:
    exact = (1 - Fraction(ratio)) * total
    count = keep_count(ratio, total)
    assert 1 <= count <= total
    # 1 - ratio rounds once, by at most 2^-53.
    assert count == 1 or abs(count - exact) <= Fraction(1, 2) + Fraction(total, 2**52)
    assert count > 1 or exact <= Fraction(3, 2) + Fraction(total, 2**52)


@given(total=sizes)
def test_keep_count_at_the_ends(total: int) -> None:
    assert keep_count(0.0, total) == total
    assert keep_count(1.0, total) == 1


@given(total=sizes, first=ratios, second=ratios)
def test_pruning_more_never_keeps_more(total: int, first: float, second: float) -> None:
    assert keep_count(min(first, second), total) >= keep_count(max(first, second), total)


def test_keep_count_of_the_reference_ratios() -> None:
    ratios = (0, 0.25, 0.50, 0.65, 0.75, 0.85, 0.90, 0.95, 0.99)
    assert [keep_count(ratio, 1000) for ratio in ratios] == [1000, 750, 500, 350, 250, 150, 100, 50, 10]


scores = st.lists(st.integers(-3, 3), min_size=1, max_size=40)


@given(scores=scores, data=st.data())
def test_largest_marks_the_first_of_the_largest(scores: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(scores)))
    mask = largest(torch.tensor(scores, dtype=torch.float32), count)
    # Python's sort is stable, so equal scores stay in their order.
    expected = sorted(range(len(scores)), key=lambda index: -scores[index])[:count]
    assert mask.dtype == torch.bool
    assert mask.nonzero().flatten().tolist() == sorted(expected)


@given(shape=st.tuples(*[st.integers(1, 5)] * 4), seed=st.integers(0, 3), ratio=ratios)
def test_memory_format_does_not_matter(shape: tuple[int, int, int, int], seed: int, ratio: float) -> None:
    # Whole numbers, so that there are ties.
    contiguous = torch.randint(0, 6, shape, generator=torch.Generator().manual_seed(seed)).float()
    count = keep_count(ratio, contiguous.numel())
    expected = largest(contiguous, count)
    for other in (
        contiguous.to(memory_format=torch.channels_last),
        contiguous.transpose(0, 3).contiguous().transpose(0, 3),
    ):
        mask = largest(other, count)
        assert torch.equal(mask, expected)
        assert int(mask.sum()) == count


def test_infinite_scores_have_their_place() -> None:
    assert largest(torch.tensor([0.0, -torch.inf, torch.inf]), 2).tolist() == [True, False, True]


def test_nan_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="2 of 3 importance scores are NaN"):
        largest(torch.tensor([torch.nan, 1.0, torch.nan]), 1)


def test_scores_that_are_being_trained_can_be_ranked() -> None:
    mask = largest(torch.tensor([1.0, 2.0], requires_grad=True), 1)
    assert mask.tolist() == [False, True]


def bits(layers: nn.ModuleDict, name: str) -> torch.Tensor:
    return layers.get_parameter(f"{name}.weight").detach().view(torch.int32).clone()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_kept_weights_keep_every_bit(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    layers = nn.ModuleDict({name: nn.Conv2d(4, 6, 3) for name in ("masked", "other")}).to(memory_format=memory_format)
    with torch.no_grad():
        layers.get_parameter("masked.weight")[0, 0, 0] = torch.tensor([-0.0, 1e-42, torch.inf])
    before = {name: bits(layers, name) for name in layers}

    apply({"masked": torch.ones(6, 4, 3, 3, dtype=torch.bool)}, layers)
    assert torch.equal(bits(layers, "masked"), before["masked"])

    mask = largest(torch.rand(6, 4, 3, 3), 50)
    apply({"masked": mask}, layers)
    assert torch.equal(bits(layers, "masked"), before["masked"].where(mask, 0))
    assert torch.equal(bits(layers, "other"), before["other"])
    assert layers.get_parameter("masked.weight").requires_grad
    assert layers.get_parameter("masked.weight").grad_fn is None
