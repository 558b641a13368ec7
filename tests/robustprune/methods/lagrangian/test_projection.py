"""The projection against all supports there are, among equals too, and against what pruning itself does."""

import copy
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from robustprune.methods import Problem
from robustprune.methods.lagrangian.projection import Projection
from robustprune.structures import SCOPES, draw_masks
from robustprune.structures import masks as masking
from robustprune.structures.masks import keep_count
from robustprune.structures.removal import departing, kept_decisions
from robustprune.training import Objective
from tests.robustprune.classification.small import bright_or_dark, task_on
from tests.robustprune.methods.linear import LinearTask
from tests.robustprune.structures.networks import KINDS, SIZE, classifier, groups_of, images

TASK = task_on(bright_or_dark(6, size=SIZE))


def problem(task: Any, **options: Any) -> Problem:
    defaults: dict[str, Any] = {"structure": "unstructured", "scope": "layer", "ratio": 0.5, "comparable": True}
    generator = torch.Generator().manual_seed(0)
    return Problem(task=task, objective=Objective(task=task), generator=generator, **{**defaults, **options})


def of_one_layer(values: list[float], ratio: float) -> tuple[Tensor, Tensor]:
    """Return V, and Π(V) where V are the weights of a layer."""
    network = nn.Sequential(nn.Linear(len(values), 1, bias=False)).double()
    weights = torch.tensor([values], dtype=torch.float64)
    projection = Projection(network, problem(LinearTask(), ratio=ratio))
    assert list(projection.parameters) == ["0.weight"]
    return weights[0], projection({"0.weight": weights})["0.weight"][0]


few = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=10)


@given(values=few, ratio=st.floats(0, 1))
def test_nothing_of_so_few_weights_is_nearer(values: list[float], ratio: float) -> None:
    weights, projected = of_one_layer(values, ratio)
    count = keep_count(ratio, len(values))
    distance = float((weights - projected).square().sum())
    others = min(
        sum(values[index] ** 2 for index in range(len(values)) if index not in kept)
        for kept in itertools.combinations(range(len(values)), count)
    )
    assert distance == others == sum(sorted(value**2 for value in values)[: len(values) - count])


@given(values=few, ratio=st.floats(0, 1), factor=st.sampled_from([-3.0, 0.25, 7.0]))
def test_it_is_a_projection_of_exact_count_that_scales(values: list[float], ratio: float, factor: float) -> None:
    weights, projected = of_one_layer(values, ratio)
    again = of_one_layer(projected.tolist(), ratio)[1]
    assert torch.equal(again, projected)
    nonzero = int(weights.count_nonzero())
    assert int(projected.count_nonzero()) == min(keep_count(ratio, len(values)), nonzero)
    assert torch.equal(of_one_layer((factor * weights).tolist(), ratio)[1], factor * projected)


@pytest.mark.parametrize(("count", "ratio", "kept"), [(5, 0.5, 2), (11, 0.9, 1), (10, 0.5, 5)])
def test_of_equals_as_many_stay_as_of_others(count: int, ratio: float, kept: int) -> None:
    # A percentile as a threshold keeps 3 weights under 2 ones of its mask, 2 under 1, and all ten under none.
    assert int(of_one_layer([1.0] * count, ratio)[1].count_nonzero()) == kept
    assert int(of_one_layer([float(value) for value in range(1, count + 1)], ratio)[1].count_nonzero()) == kept


def test_across_layers_the_largest_of_all_stay() -> None:
    network = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False))
    values = {"0.weight": torch.tensor([[9.0, -8, 7], [6, 5, 4]]), "1.weight": torch.tensor([[3.0, 2], [10, 1]])}
    projected = Projection(network, problem(LinearTask(), scope="global", ratio=0.6))(values)
    assert projected["0.weight"].tolist() == [[9, -8, 7], [0, 0, 0]]
    assert projected["1.weight"].tolist() == [[0, 0], [10, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_group_the_channels_with_the_largest_norms_stay_with_all_that_leaves_with_them(kind: str) -> None:
    network = classifier([(kind, 2)], hidden=6)
    projection = Projection(network, problem(TASK, structure="structured"))
    values = {name: value.detach() for name, value in projection.parameters.items()}
    projected = projection(values)
    for group in groups_of(network):
        norms, cut = torch.zeros(2, group.decisions).double()
        for name, members in (*group.filters.items(), *group.norms.items()):
            for parameter in (f"{name}.weight", f"{name}.bias"):
                if parameter in values:
                    for index, decision in zip(*members, strict=True):
                        square = values[parameter][index].double().square().sum()
                        norms[decision] += square
                        gone = not projected[parameter][index].any() and bool(values[parameter][index].any())
                        cut[decision] += square if gone else 0
        left = keep_count(0.5, group.decisions)
        # Nothing, or all, of a channel goes, and what goes is the least there is.
        torch.testing.assert_close(cut.sort().values[left:], norms.sort().values[: group.decisions - left])
        torch.testing.assert_close(cut.sort().values[:left], torch.zeros(left).double())


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("structure", ["unstructured", "structured"])
def test_its_support_is_what_pruning_keeps_and_pruning_changes_no_answer_of_it(structure: str, scope: str) -> None:
    network = classifier([("projected", 2), ("depthwise", 2), ("option A", 3)], hidden=6)
    before = copy.deepcopy(network.state_dict())
    asked = problem(TASK, structure=structure, scope=scope, ratio=0.6)
    projection = Projection(network, asked)
    weights = {name: value.detach() for name, value in projection.parameters.items()}
    projected, scores = projection(weights), projection.scores(weights)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    with torch.no_grad():
        for name, parameter in projection.parameters.items():
            parameter.copy_(projected[name])
    answers = network(images())
    groups = asked.groups(network)
    masks = draw_masks(structure, scores, 0.6, groups=groups, scope=scope, comparable=True)
    masking.apply(masks | departing(network, groups, kept_decisions(groups, masks)), network)
    assert torch.equal(network(images()), answers)
    torch.testing.assert_close(projection(projected), projected, rtol=0, atol=0)
    cut = sum(int((~mask).sum()) for mask in masks.values())
    if structure == "unstructured":
        zeros = sum(int((projected[f"{name}.weight"] == 0).sum()) for name in masks)
        assert zeros == cut > 0
