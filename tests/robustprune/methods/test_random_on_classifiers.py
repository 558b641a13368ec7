"""Random scores: of the generator alone, one per weight or one per channel."""

import copy

import pytest
import torch
from torch import Tensor

from robustprune.methods import NoSettings, Problem
from robustprune.methods.random import random
from robustprune.training import Objective
from tests.robustprune.classification.small import bright_or_dark, task_on
from tests.robustprune.structures.networks import SIZE, classifier, groups_of

TASK = task_on(bright_or_dark(4, size=SIZE))


NETWORK = classifier([("plain", 0), ("projected", 0)])


def scores(structure: str, *, seed: int) -> dict[str, Tensor]:
    problem = Problem(
        task=TASK,
        objective=Objective(task=TASK),
        generator=torch.Generator().manual_seed(seed),
        structure=structure,
    )
    return random(NETWORK, problem, NoSettings())


@pytest.mark.parametrize("structure", ["unstructured", "structured", "channels"])
def test_random_scores_follow_their_generator_alone(structure: str) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = scores(structure, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    same, other = scores(structure, seed=3), scores(structure, seed=4)
    assert all(torch.equal(found, same[name]) for name, found in first.items())
    assert not any(torch.equal(found, other[name]) for name, found in first.items())
    assert all(found.min() >= 0 and found.max() < 1 for found in first.values())


def test_layers_of_the_same_width_are_drawn_apart() -> None:
    groups = groups_of(copy.deepcopy(NETWORK))
    found = scores("channels", seed=0)
    firsts = [tuple(found[name].flatten(1)[:, 0].tolist()) for group in groups for name in list(group.filters)[:1]]
    assert len(set(firsts)) == len(groups) == 4


@pytest.mark.parametrize("structure", ["structured", "channels"])
def test_channels_that_go_together_are_drawn_together(structure: str) -> None:
    found = scores(structure, seed=0)
    for group in groups_of(copy.deepcopy(NETWORK)):
        drawn = [
            found[name].flatten(1)[indices[decisions.argsort()]] for name, (indices, decisions) in group.filters.items()
        ]
        for rows in drawn:
            assert torch.equal(rows, rows[:, :1].expand_as(rows))
            assert torch.equal(rows[:, 0], drawn[0][:, 0])


def test_single_weights_are_drawn_apart() -> None:
    for found in scores("unstructured", seed=0).values():
        assert len(found.unique()) == found.numel()
