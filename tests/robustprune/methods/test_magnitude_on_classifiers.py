"""Magnitudes of single weights and of channels, and what stored scores are good for."""

import pytest
import torch

from robustprune.core.arrays import to_arrays
from robustprune.methods import INITIALIZERS, NoSettings, Problem
from robustprune.methods.magnitude import channel_norms, magnitude
from robustprune.structures import draw_masks
from robustprune.structures.group_scores import group_scores
from robustprune.structures.removal import channel_counts, kept_decisions, remove
from robustprune.training import Objective
from tests.robustprune.classification.small import bright_or_dark, task_on
from tests.robustprune.structures.networks import SIZE, classifier, groups_of

TASK = task_on(bright_or_dark(4, size=SIZE))


def problem(structure: str | None) -> Problem:
    return Problem(task=TASK, objective=Objective(task=TASK), generator=torch.Generator(), structure=structure)


@pytest.mark.parametrize("structure", [None, "unstructured"])
def test_magnitudes_are_those_of_all_layers_that_can_be_pruned(structure: str | None) -> None:
    network = classifier([("projected", 1), ("depthwise", 2)], hidden=5).requires_grad_(False)
    scores = magnitude(network, problem(structure), NoSettings())
    assert list(scores) == [
        f"network.{name}" for name in ("0.0", "1.inner.0", "1.inner.3", "1.outer.0", "2.0", "2.3", "5")
    ]
    for name, found in scores.items():
        assert torch.equal(found, network.get_parameter(f"{name}.weight").abs())
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("structure", ["structured", "channels"])
def test_every_weight_of_a_filter_has_the_norm_of_its_channel_beside_the_mean_of_its_group(structure: str) -> None:
    network = classifier([("projected", 1), ("depthwise", 2)], hidden=5)
    groups = groups_of(network)
    network.requires_grad_(False)
    scores = magnitude(network, problem(structure), NoSettings())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    for group in groups:
        norms = channel_norms(network, group)
        for name, (indices, decisions) in group.filters.items():
            assert scores[name].shape == network.get_submodule(name).weight.shape
            rows = scores[name].flatten(1)
            assert torch.equal(rows, rows[:, :1].expand_as(rows))
            torch.testing.assert_close(rows[indices, 0], norms[decisions] / norms.mean())
    assert scores.keys() == {name for group in groups for name in group.filters}
    # So that channels are ranked by their norms, however many layers they are in.
    comparable = INITIALIZERS["magnitude"].comparable
    for group, worth in zip(groups, group_scores(scores, groups, comparable=comparable), strict=True):
        assert torch.equal(worth.argsort(), channel_norms(network, group).argsort())


@pytest.mark.parametrize("structure", ["unstructured", "structured", "channels"])
def test_weights_that_are_all_zero_are_worth_nothing(structure: str) -> None:
    network = classifier([("projected", 1)])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert not any(scores.any() for scores in magnitude(network, problem(structure), NoSettings()).values())


@pytest.mark.parametrize("structure", ["unstructured", "channels"])
def test_stored_scores_decide_on_groups(structure: str) -> None:
    network = classifier([("projected", 1)])
    arrays = to_arrays(magnitude(network, problem(structure), NoSettings()))
    for array in arrays.values():
        array.flags.writeable = False
    groups = groups_of(network)
    scores = {name: torch.tensor(array) for name, array in arrays.items()}
    found = draw_masks("channels", scores, 0.5, groups=groups, scope="layer", comparable=False)
    kept = kept_decisions(groups, found)
    remove(groups, kept)
    counts = channel_counts(kept)
    assert counts.channels_kept < counts.channels_total
    assert sum(group.decisions for group in groups_of(network)) == counts.channels_kept


@pytest.mark.parametrize("structure", ["unstructured", "structured", "channels"])
def test_initializers_that_see_no_images_need_no_settings_and_give_no_negative_score(structure: str) -> None:
    network = classifier([("plain", 0)])
    for name in ("magnitude", "random"):
        method = INITIALIZERS[name]
        assert not method.sees_images
        assert not method.attacks
        assert method.settings is NoSettings
        first, again = (method.outcome(network, problem(structure), NoSettings()).scores for _ in range(2))
        assert first.keys() == again.keys()
        if name == "magnitude":
            assert all(torch.equal(scores, again[layer]) for layer, scores in first.items())
        assert all(scores.min() >= 0 for scores in first.values())
