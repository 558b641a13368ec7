"""Random scores: evenly spread, of the generator alone, and one per channel where whole channels are pruned."""

from __future__ import annotations

import copy

import pytest
import torch
from scipy import stats
from torch import Tensor

from robustprune.detection.darknet import Detector
from robustprune.methods import INITIALIZERS, NoSettings, Problem
from robustprune.methods.random import random
from tests.robustprune.detection.pruned import convolution, rows_of
from tests.robustprune.detection.tasks import clean


def scored(detector: Detector, structure: str, seed: int = 0) -> dict[str, Tensor]:
    objective = clean(detector)
    generator = torch.Generator().manual_seed(seed)
    problem = Problem(task=objective.task, objective=objective, generator=generator, structure=structure)
    return random(detector, problem, NoSettings())


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    assert list(first) == list(second)
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("structure", ["unstructured", "structured"])
def test_every_layer_has_scores_of_its_weights_shape(nano: Detector, structure: str) -> None:
    found = scored(nano, structure)
    assert {name: scores.shape for name, scores in found.items()} == {
        name: layer.weight.shape for name, layer in nano.prunable_layers().items()
    }
    assert all(0 <= scores.min() <= scores.max() < 1 for scores in found.values())


@pytest.mark.parametrize("structure", ["unstructured", "structured"])
def test_scores_are_of_the_generator_alone(nano: Detector, structure: str) -> None:
    first = scored(nano, structure)
    torch.manual_seed(99)  # torch's own generator plays no part
    other = Detector.from_cfg("yolov3-nano")
    assert not torch.equal(convolution(other, 0).weight, convolution(nano, 0).weight)
    state = torch.get_rng_state()
    assert equal(first, scored(other, structure))
    assert torch.equal(torch.get_rng_state(), state)
    assert not equal(first, scored(nano, structure, seed=1))


def test_scores_are_spread_evenly_and_differ_from_layer_to_layer(nano: Detector) -> None:
    found = scored(nano, "unstructured")
    drawn = torch.cat([scores.flatten() for scores in found.values()])
    assert len(drawn) > 10_000
    assert stats.kstest(drawn.numpy(), "uniform").pvalue > 0.01
    first, second = list(found.values())[1:3]
    shared = min(first.numel(), second.numel())
    assert not torch.equal(first.flatten()[:shared], second.flatten()[:shared])


def test_of_channels_there_is_one_score_for_all_that_goes_together(nano: Detector) -> None:
    found = scored(nano, "structured")
    objective = clean(nano)
    drawn = []
    for group in objective.task.coupled_groups(nano):
        by_layer = [found[name][rows[:, 0]].flatten(1) for name, rows in rows_of(group).items()]
        for scores in by_layer:
            assert torch.equal(scores, by_layer[0][:, :1].expand_as(scores))
        drawn.append(by_layer[0][:, 0])
    channels = torch.cat(drawn)
    assert len(channels.unique()) == len(channels) > 100
    assert stats.kstest(channels.numpy(), "uniform").pvalue > 0.01


@pytest.mark.parametrize("structure", ["unstructured", "structured"])
def test_the_detector_is_left_alone(nano: Detector, structure: str) -> None:
    convolution(nano, 0).weight.requires_grad_(False)
    before = copy.deepcopy(nano)
    scored(nano, structure)
    assert all(torch.equal(tensor, before.state_dict()[name]) for name, tensor in nano.state_dict().items())
    assert not convolution(nano, 0).weight.requires_grad


def test_scores_serve_one_structure_and_compare_between_layers() -> None:
    entry = INITIALIZERS["random"]
    assert entry.per_structure
    assert not entry.per_ratio
    assert entry.comparable
    assert not entry.sees_images
    assert not entry.attacks
