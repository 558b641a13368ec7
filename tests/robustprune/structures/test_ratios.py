"""Ratios of layers: which layers have their own, and that all structures prune to them, to the unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustprune.classification import networks
from robustprune.inference.cost import cost, size
from robustprune.structures import STRUCTURES, CoupledGroup, Members, Ratios, draw_masks
from robustprune.structures.masks import keep_count
from robustprune.structures.ratios import ratio_of

RATIOS = [0.0, 0.25, 0.5, 0.75, 0.9]
LAYERS = ("stem", "block.0", "block.1", "fc")

own_ratios = st.one_of(st.just("ratio"), st.sampled_from(RATIOS), st.floats(0, 0.99))
tables = st.fixed_dictionaries({}, optional={"stem": own_ratios, "block.*": own_ratios, "*": own_ratios})


def importance(seed: int, sizes: Sequence[int]) -> dict[str, Tensor]:
    """Return scores of small whole numbers, so that there are ties."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randint(0, 5, (size, 3), generator=generator).float()
        for name, size in zip(LAYERS, sizes, strict=True)
    }


def fixed_of(layer: str, ratios: Ratios) -> float | None:
    """Return a layer's own ratio by the rule written out; None: the row's."""
    matching = [
        ratio for pattern, ratio in ratios.items() if pattern == "*" or layer == pattern or pattern[:-1] == layer[:6]
    ]
    return None if not matching or matching[0] == "ratio" else float(matching[0])


def masks(
    scores: Mapping[str, Tensor],
    ratio: float,
    ratios: Ratios,
    *,
    scope: str = "layer",
    structure: str = "unstructured",
    groups: Sequence[CoupledGroup] = (),
) -> dict[str, Tensor]:
    return draw_masks(structure, scores, ratio, groups=groups, scope=scope, comparable=True, ratios=ratios)


@given(
    ratios=tables, ratio=st.sampled_from(RATIOS[1:]), sizes=st.tuples(*[st.integers(1, 9)] * 4), seed=st.integers(0, 99)
)
def test_each_layer_is_pruned_to_its_ratio_to_the_unit(
    ratios: Ratios, ratio: float, sizes: tuple[int, ...], seed: int
) -> None:
    scores = importance(seed, sizes)
    found = masks(scores, ratio, ratios)
    assert list(found) == list(scores)
    for name, mask in found.items():
        own = fixed_of(name, ratios)
        at = ratio if own is None else own
        assert int(mask.sum()) == keep_count(at, mask.numel())
        # It is the mask of the layer by itself: of equal scores the first stay, as ever.
        assert torch.equal(mask, masks({name: scores[name]}, at, {})[name] if at else torch.ones_like(mask))


@given(
    ratios=tables, ratio=st.sampled_from(RATIOS[1:]), sizes=st.tuples(*[st.integers(1, 9)] * 4), seed=st.integers(0, 99)
)
def test_in_one_ranking_layers_of_a_ratio_of_their_own_do_not_compete(
    ratios: Ratios, ratio: float, sizes: tuple[int, ...], seed: int
) -> None:
    scores = importance(seed, sizes)
    found = masks(scores, ratio, ratios, scope="global")
    rest = {name: each for name, each in scores.items() if fixed_of(name, ratios) is None}
    alone = masks(rest, ratio, {}, scope="global") if rest else {}
    for name, mask in found.items():
        own = fixed_of(name, ratios)
        if own is None:
            assert torch.equal(mask, alone[name])
        else:
            assert int(mask.sum()) == keep_count(own, mask.numel())


@pytest.mark.parametrize("structure", [*STRUCTURES, "2:4"])
def test_at_a_ratio_of_0_nothing_is_pruned_whatever_the_table_says(structure: str) -> None:
    scores = importance(0, (4, 4, 4, 4))
    every = [CoupledGroup(decisions=4, filters={name: Members(torch.arange(4), torch.arange(4)) for name in scores})]
    found = masks(scores, 0.0, {"*": 0.5}, structure=structure, groups=every)
    assert all(mask.all() for mask in found.values())


def test_layers_of_n_of_m_are_dense_or_not() -> None:
    scores = importance(0, (4, 4, 4, 4))
    found = masks(scores, 0.5, {"stem": 0, "fc": 0.5}, structure="2:4")
    assert found["stem"].all()
    for name in LAYERS[1:]:
        assert torch.equal(found[name], masks(scores, 0.5, {}, structure="2:4")[name])


# Channels that come and go together


def group(**layers: Sequence[int]) -> CoupledGroup:
    """Return the group in which the i-th of these filters of layers go together."""
    decisions = len(next(iter(layers.values())))
    return CoupledGroup(
        decisions=decisions,
        filters={name: Members(torch.tensor(own), torch.arange(decisions)) for name, own in layers.items()},
    )


def filters_kept(found: Mapping[str, Tensor]) -> dict[str, list[bool]]:
    assert all(torch.equal(mask.flatten(1).any(1), mask.flatten(1).all(1)) for mask in found.values())
    return {name: mask.flatten(1).all(1).tolist() for name, mask in found.items()}


@pytest.mark.parametrize("structure", ["structured", "channels"])
@pytest.mark.parametrize(
    ("ratios", "kept"),
    [
        ({}, 2),
        ({"one": 0}, 4),
        ({"one": 0.25}, 3),
        ({"one": 0.75}, 2),  # the other is pruned to the row's ratio, which is less
        ({"*": 0.75}, 1),
        ({"one": 0.75, "other": 0.25}, 3),
        ({"one": "ratio", "*": 0}, 4),
    ],
)
def test_coupled_layers_are_pruned_to_the_least_of_their_ratios(structure: str, ratios: Ratios, kept: int) -> None:
    scores = {"one": torch.tensor([[1.0], [2], [3], [4]]), "other": torch.tensor([[1.0], [2], [3], [4]])}
    found = filters_kept(masks(scores, 0.5, ratios, structure=structure, groups=[group(one=range(4), other=range(4))]))
    assert found["one"] == found["other"] == [index >= 4 - kept for index in range(4)]


def test_groups_of_layers_of_a_ratio_of_their_own_do_not_compete() -> None:
    scores = {name: torch.tensor([[1.0], [2], [3], [4]]) * 10**at for at, name in enumerate(("low", "mid", "high"))}
    groups = [group(**{name: range(4)}) for name in scores]
    found = filters_kept(masks(scores, 0.5, {"mid": 0.25}, scope="global", structure="structured", groups=groups))
    # Of the eight others four stay: the best of the low ones, which no layer is without, and three of the high ones.
    assert {name: sum(kept) for name, kept in found.items()} == {"low": 1, "mid": 3, "high": 3}


def test_a_layer_may_be_of_several_groups_of_different_ratios() -> None:
    scores = {"wide": torch.arange(8.0).view(8, 1), "narrow": torch.arange(4.0).view(4, 1)}
    groups = [group(wide=range(4), narrow=range(4)), group(wide=range(4, 8))]
    found = filters_kept(masks(scores, 0.5, {"narrow": 0.25}, structure="structured", groups=groups))
    assert found["narrow"] == [False, True, True, True]
    assert found["wide"] == [False, True, True, True, False, False, True, True]


def test_the_least_is_the_rows_where_any_layer_has_that_and_it_is_no_more() -> None:
    ratios: Ratios = {"a": 0.5, "b": "ratio", "c": 0.1}
    assert ratio_of(["a", "b"], ratios, 0.5) is None
    assert ratio_of(["a"], ratios, 0.5) == 0.5
    assert ratio_of(["a", "b"], ratios, 0.9) == 0.5
    assert ratio_of(["c", "other"], ratios, 0.9) == 0.1


# A published table


@pytest.mark.parametrize(("ratio", "compression"), [(0.5, 1.968), (0.7, 3.210), (0.85, 6.098), (0.9, 8.711)])
def test_resnet18_is_compressed_as_published(ratio: float, compression: float) -> None:
    """Zhou et al. 2023, Table 1: convolutions of residual blocks, all else dense; biases are not counted."""
    with torch.device("meta"):
        network, example = networks.build("resnet18", classes=10, image_size=32), torch.zeros(1, 3, 32, 32)
    assert size(network, example).weights == 11_169_152
    scores = {
        name: torch.zeros(module.weight.shape)
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)
    }
    found = masks(scores, ratio, {"layer?.?.conv?": "ratio", "*": 0})
    pruned = [name for name, mask in found.items() if not mask.all()]
    assert sum(scores[name].numel() for name in pruned) == 10_985_472
    assert len(pruned) == 16
    counted = cost(network, found, example)
    assert counted.compression == pytest.approx(11_169_152 / ((1 - ratio) * 10_985_472 + 183_680), abs=1e-5)
    assert round(counted.compression, 3) == compression
