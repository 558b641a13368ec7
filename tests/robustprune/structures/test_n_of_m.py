"""N of every M weights: which stay, how many, and by which names it goes; against rankings in plain Python."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustprune.core.errors import InputError
from robustprune.plugins import identities
from robustprune.structures import STRUCTURES, draw_masks
from robustprune.structures.kinds.n_of_m import MOST, read

pairs = st.integers(2, MOST).flatmap(lambda m: st.tuples(st.integers(1, m - 1), st.just(m)))
shapes = st.one_of(
    st.tuples(st.integers(1, 3), st.integers(1, 37)),
    st.tuples(st.integers(1, 3), st.integers(1, 21), st.integers(1, 3), st.integers(1, 2)),
)


def drawn(name: str, scores: Tensor, ratio: float | None = None) -> Tensor:
    fixed = STRUCTURES[name].fixed
    assert fixed is not None
    at = fixed if ratio is None else ratio
    return draw_masks(name, {"layer": scores}, at, groups=[], scope="layer", comparable=True)["layer"]


def blocks(scores: Tensor, m: int) -> list[list[tuple[int, ...]]]:
    """Return the places of weights that are consecutive, in order: of a filter, at a place of its kernel."""
    filters, channels, *kernel = scores.shape
    places = [()] if not kernel else [(row, column) for row in range(kernel[0]) for column in range(kernel[1])]
    return [
        [(each, channel, *place) for channel in range(start, min(start + m, channels))]
        for each in range(filters)
        for place in places
        for start in range(0, channels, m)
    ]


@given(pair=pairs, shape=shapes, data=st.data())
def test_of_every_m_channels_at_a_place_the_n_largest_stay_and_of_equals_the_first(
    pair: tuple[int, int], shape: tuple[int, ...], data: st.DataObject
) -> None:
    n, m = pair
    # Small whole numbers, so that there are ties and negative scores.
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    scores = torch.randint(-2, 4, shape, generator=generator).float()
    mask = drawn(f"{n}:{m}", scores)
    assert mask.shape == scores.shape
    for block in blocks(scores, m):
        best = sorted(block, key=lambda place: -float(scores[place]))[:n]
        assert {place for place in block if mask[place]} == set(best)
    # To the unit, what is left over of the channels counting as if it were filled up with zeros.
    rows = scores.numel() // shape[1]
    assert int(mask.sum()) == rows * (shape[1] // m * n + min(n, shape[1] % m))


def test_consecutive_are_the_channels_and_not_the_places_of_a_kernel() -> None:
    scores = torch.zeros(1, 4, 1, 2)
    scores[0, :, 0, 0] = torch.tensor([1.0, 2, 3, 4])
    scores[0, :, 0, 1] = torch.tensor([4.0, 3, 2, 1])
    mask = drawn("2:4", scores)
    assert mask[0, :, 0, 0].tolist() == [False, False, True, True]
    assert mask[0, :, 0, 1].tolist() == [True, True, False, False]


def test_the_product_of_matrices_that_tensor_cores_see_is_two_of_four() -> None:
    scores = torch.rand(6, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    mask = drawn("2:4", scores)
    # In channels-last memory, as (filters, places of the kernel x channels).
    flat = mask.permute(0, 2, 3, 1).reshape(6, -1, 4)
    assert (flat.sum(dim=-1) == 2).all()


def test_a_depthwise_filter_keeps_every_weight_and_a_stem_of_three_channels_two_of_each_place() -> None:
    assert drawn("2:4", torch.rand(5, 1, 3, 3)).all()
    assert (drawn("2:4", torch.rand(5, 3, 3, 3)).sum(dim=1) == 2).all()


@given(pair=pairs, shape=shapes)
def test_at_a_ratio_of_0_all_stay_and_masks_own_their_memory(pair: tuple[int, int], shape: tuple[int, ...]) -> None:
    name = "{}:{}".format(*pair)
    assert drawn(name, torch.zeros(shape), 0.0).all()
    mask = drawn(
        name, torch.zeros(shape).to(memory_format=torch.channels_last) if len(shape) == 4 else torch.ones(shape)
    )
    assert mask.is_contiguous()
    assert torch.equal(mask, drawn(name, torch.zeros(shape)))


def test_scores_that_cannot_be_ranked_are_refused_and_infinite_ones_are_not() -> None:
    with pytest.raises(ValueError, match="1 of 4 importance scores are NaN"):
        drawn("1:2", torch.tensor([[1.0, torch.nan, 1.0, 1.0]]))
    lowest = torch.tensor([[-torch.inf, -torch.inf, 1.0, -torch.inf, -torch.inf]])
    assert drawn("2:4", lowest).tolist() == [[True, False, True, False, True]]


@pytest.mark.parametrize(("name", "ratio"), [("2:4", 0.5), ("1:3", 2 / 3), ("15:16", 1 / 16), ("1:16", 0.9375)])
def test_any_n_of_m_has_a_name_and_one_ratio(name: str, ratio: float) -> None:
    assert name in STRUCTURES
    entry = STRUCTURES.lookup(name)
    assert entry.fixed == pytest.approx(ratio)
    assert (entry.coupled, entry.removes) == (False, False)
    assert entry.masks.__module__ == "robustprune.structures.kinds.n_of_m"
    assert name not in list(STRUCTURES)  # nobody can list them all
    assert identities((STRUCTURES, name)) == {}
    assert read(name) == read({"n_of_m": name}) == name


@pytest.mark.parametrize("name", ["4:4", "5:4", "0:4", "2:17", "02:4", "2:4:8", "2:", ":", "-2:4", "a:b", " 2:4"])
def test_others_have_none(name: str) -> None:
    assert name not in STRUCTURES
    with pytest.raises(InputError, match="expected one of unstructured, structured, channels, N:M"):
        STRUCTURES.lookup(name)
    for spelled in (name, {"n_of_m": name}):
        with pytest.raises(ValueError, match=r'^found .*, expected {n_of_m: "N:M"} with whole numbers 1 ≤ N < M ≤ 16'):
            read(spelled)


@pytest.mark.parametrize("given", [{"n_of_m": 124}, {"n_of_m": None}, {"n": 2, "m": 4}, {}])
def test_mappings_that_say_no_n_of_m_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="^found .*, expected "):
        read(given)


@pytest.mark.parametrize("given", ["unstructured", 4, None, [2, 4]])
def test_whatever_is_meant_as_something_else_is_left_to_others(given: object) -> None:
    assert read(given) is None
