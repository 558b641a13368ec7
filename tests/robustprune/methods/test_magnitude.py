"""Magnitudes of weights, and of all that comes and goes with a channel: by hand, and as torch-pruning has them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch_pruning
from torch import Tensor

from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.couplings import couplings
from robustprune.methods import INITIALIZERS, NoSettings, Problem
from robustprune.methods.magnitude import channel_norms, magnitude
from robustprune.structures.dependency_graph import dependency_groups
from tests.robustprune.detection.pruned import HEAD, batch_norm, conv, convolution, detector_of, randomised, rows_of
from tests.robustprune.detection.tasks import clean


def scored(detector: Detector, structure: str | None, **options: Any) -> dict[str, Tensor]:
    objective = clean(detector, **options)
    problem = Problem(task=objective.task, objective=objective, generator=torch.Generator(), structure=structure)
    return magnitude(detector, problem, NoSettings())


@pytest.mark.parametrize("structure", [None, "unstructured"])
@pytest.mark.parametrize("heads", [False, True])
def test_a_weight_is_worth_its_magnitude(nano: Detector, structure: str | None, heads: bool) -> None:
    found = scored(nano, structure, prune_heads=heads)
    layers = nano.prunable_layers(heads=heads)
    assert list(found) == list(layers)
    for name, layer in layers.items():
        assert torch.equal(found[name], layer.weight.abs())
        assert not found[name].requires_grad


RESIDUAL = conv(4), conv(4), "[shortcut]\nfrom=-2\nactivation=linear\n", HEAD


def test_a_channel_of_a_residual_sum_is_worth_the_mean_norm_of_all_that_goes_with_it_beside_its_groups_mean() -> None:
    detector = detector_of(*RESIDUAL)
    found = scored(detector, "structured")
    # Two layers write the sum's channels, each behind a batch norm of its own; the second and the head read them.
    first, second, head = (convolution(detector, index).weight.detach() for index in (0, 1, 3))
    scales = [batch_norm(detector, index).weight.detach() for index in (0, 1)]
    worth = []
    for channel in range(4):
        parts = [first[channel], second[channel], second[:, channel], head[:, channel]]
        parts += [scale[channel] for scale in scales]
        worth.append(sum(part.abs().sum().item() for part in parts) / 6)
    for name in ("layers.0.conv", "layers.1.conv"):
        for channel, weights in enumerate(found[name]):
            # A score is told beside the mean of the group's.
            assert weights.unique().tolist() == [pytest.approx(worth[channel] / (sum(worth) / 4))]
    assert found.keys() == {"layers.0.conv", "layers.1.conv"}


def test_a_channel_that_is_read_at_two_places_counts_both() -> None:
    detector = detector_of(conv(3), conv(2), "[route]\nlayers=-1,-2\n", HEAD)
    found = scored(detector, "structured")
    first, second, head = (convolution(detector, index).weight.detach() for index in (0, 1, 3))
    scale = batch_norm(detector, 0).weight.detach()
    worth = []
    for channel in range(3):
        # The route puts the second layer's two channels before those of the first.
        parts = [first[channel], second[:, channel], head[:, 2 + channel], scale[channel]]
        worth.append(sum(part.abs().sum().item() for part in parts) / 4)
    for channel, weights in enumerate(found["layers.0.conv"]):
        assert weights.unique().tolist() == [pytest.approx(worth[channel] / (sum(worth) / 3))]


def test_filters_that_go_together_have_one_score(nano: Detector) -> None:
    found = scored(randomised(nano), "structured")
    for group in couplings(nano, nano.prunable_layers()):
        norms = channel_norms(nano, group)
        assert norms.shape == (group.decisions,)
        assert len(norms.unique()) > 1
        for name, rows in rows_of(group).items():
            scores = found[name][rows].flatten(1)
            assert torch.equal(scores, (norms / norms.mean())[:, None].expand_as(scores))


def test_a_group_of_zeros_is_worth_nothing() -> None:
    detector = detector_of(*RESIDUAL)
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.zero_()
    assert not any(scores.any() for scores in scored(detector, "structured").values())


@pytest.mark.parametrize("name", ["yolov3-nano", "yolov3-tiny"])
def test_channels_of_detectors_have_the_norms_that_torch_pruning_gives_them(name: str) -> None:
    detector = randomised(Detector.from_cfg(name))
    importance = torch_pruning.importance.MagnitudeImportance(p=1, group_reduction="mean", normalizer=None)
    theirs = dependency_groups(copy.deepcopy(detector), torch.zeros(1, 3, 64, 64))
    ours = {tuple(group.filters): group for group in couplings(detector, detector.prunable_layers())}
    assert len(theirs) == len(ours)
    for group in theirs:
        own, expected = ours[tuple(group.filters)], importance(group.dependencies)
        found = channel_norms(detector, own)
        for layer, (indices, decisions) in group.filters.items():
            numbers = dict(zip(*(column.tolist() for column in own.filters[layer]), strict=True))
            there = torch.tensor([numbers[index] for index in indices.tolist()])
            torch.testing.assert_close(found[there], expected[decisions])


@pytest.mark.parametrize("structure", ["unstructured", "structured"])
def test_the_detector_is_left_alone(nano: Detector, structure: str) -> None:
    convolution(nano, 0).weight.requires_grad_(False)
    before = copy.deepcopy(nano)
    found = scored(nano, structure)
    with torch.no_grad():
        for scores in found.values():
            scores.zero_()
    assert all(torch.equal(tensor, before.state_dict()[name]) for name, tensor in nano.state_dict().items())
    assert not convolution(nano, 0).weight.requires_grad


def test_scores_serve_one_structure_and_every_ratio() -> None:
    entry = INITIALIZERS["magnitude"]
    assert entry.per_structure
    assert not entry.per_ratio
    assert entry.comparable
    assert not entry.sees_images
    assert not entry.attacks
