"""HYDRA's scores: the initial ones, the gradient that moves them, and what they depend on."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustprune.attacks import pgd
from robustprune.core.errors import DivergedError
from robustprune.core.progress import NOWHERE, Progress
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.couplings import couplings
from robustprune.detection.data.samples import Samples
from robustprune.detection.losses.assignment import Assignment
from robustprune.methods import INITIALIZERS, Problem
from robustprune.methods.hydra import HydraSettings, hydra, initial_scores, masked
from robustprune.structures.masks import keep_count
from tests.robustprune.detection.pruned import batch_norm, convolution
from tests.robustprune.detection.tasks import batch_of, task_of, under
from tests.robustprune.training.keeper import killed_after

robust = partial(under, partial(pgd, epsilon=0.05, step_size=0.05, steps=1))

Ask = Callable[..., Problem]


@pytest.fixture
def problem(trained: Detector, samples: Samples) -> Ask:
    """Return a function that makes a problem on six images."""

    def ask(
        *,
        structure: str = "unstructured",
        ratio: float = 0.5,
        seed: int = 0,
        prune_heads: bool = False,
        **others: Any,
    ) -> Problem:
        options: dict[str, Any] = {
            "task": task_of(trained, samples, prune_heads=prune_heads),
            "objective": robust(trained, samples),
            "generator": torch.Generator().manual_seed(seed),
            **others,
        }
        return Problem(structure=structure, ratio=ratio, **options)

    return ask


def settings(epochs: int = 1) -> HydraSettings:
    return HydraSettings(epochs=epochs, batch_size=3)


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    assert list(first) == list(second)
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("groups", [1, 2])
def test_initial_scores_are_scaled_weights(groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, (3, 2), groups=groups)
    fan_in = 4 // groups * 3 * 2
    largest = max(abs(weight) for weight in layer.weight.flatten().tolist())
    scores = initial_scores(layer)
    torch.testing.assert_close(scores, math.sqrt(6 / fan_in) / largest * layer.weight.detach())
    assert scores.abs().max().item() == pytest.approx(math.sqrt(6 / fan_in))
    assert not scores.requires_grad


def test_before_any_epoch_scores_are_the_initial_magnitudes(trained: Detector, problem: Ask) -> None:
    layers = trained.prunable_layers()
    expected = {name: initial_scores(layer).abs() for name, layer in layers.items()}
    assert equal(hydra(trained, problem(), settings(epochs=0)), expected)


def test_the_gradient_passes_straight_through_the_mask() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, scores, upstream = (torch.randn(5, 3, 2, 2, generator=generator) for _ in range(3))
    scores[0, 0] = 0  # whose sign is 0
    mask = torch.rand(weight.shape, generator=generator) < 0.4
    scores.requires_grad_()
    product = masked(weight, scores, mask)
    assert torch.equal(product, weight * mask)
    (product * upstream).sum().backward()
    assert scores.grad is not None
    assert torch.equal(scores.grad, scores.detach().sign() * weight * upstream)
    assert scores.grad[~mask].abs().max() > 0


def test_the_detector_is_left_alone(trained: Detector, problem: Ask) -> None:
    trained.train()
    convolution(trained, 0).weight.requires_grad_(False)
    before = copy.deepcopy(trained)
    hydra(trained, problem(), settings())
    assert equal(trained.state_dict(), before.state_dict())
    for name, parameter in trained.named_parameters():
        assert parameter.requires_grad is (name != "layers.0.conv.weight")
        assert parameter.grad is None
    assert all(module.training for module in trained.modules())


def test_the_same_seed_gives_the_same_bits(trained: Detector, problem: Ask) -> None:
    first = hydra(trained, problem(seed=1), settings())
    torch.manual_seed(99)  # torch's own generator plays no part
    assert equal(first, hydra(trained, problem(seed=1), settings()))
    assert not equal(first, hydra(trained, problem(seed=2), settings()))


@pytest.mark.parametrize("structure", ["unstructured", "structured"])
def test_killed_after_any_epoch_it_ends_with_the_same_bits(trained: Detector, problem: Ask, structure: str) -> None:
    def work(progress: Progress) -> Mapping[str, Tensor]:
        return hydra(trained, problem(structure=structure, progress=progress), settings(epochs=4))

    undisturbed = work(NOWHERE)
    for epoch in range(1, 5):
        assert equal(undisturbed, killed_after(epoch, work, epochs=4)), epoch


def test_scores_depend_on_ratio_and_structure(trained: Detector, problem: Ask) -> None:
    assert INITIALIZERS["hydra"].per_ratio
    first = hydra(trained, problem(), settings())
    assert not equal(first, hydra(trained, problem(ratio=0.75), settings()))
    assert not equal(first, hydra(trained, problem(structure="structured"), settings()))


class Watched:
    """The robust objective, which checks the weights it is asked about."""

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio
        self.calls = 0

    def __call__(
        self, detector: Detector, images: Tensor, targets: Sequence[Assignment], weights: Mapping[str, Tensor]
    ) -> Tensor:
        self.calls += 1
        layers = detector.prunable_layers()
        assert weights.keys() == {f"{name}.weight" for name in layers}
        for name, layer in layers.items():
            pruned = weights[f"{name}.weight"]
            assert int(pruned.count_nonzero()) == keep_count(self.ratio, pruned.numel())
            assert torch.equal(pruned[pruned != 0], layer.weight[pruned != 0])
        return robust(detector)(detector, images, targets, weights)


def test_every_step_sees_exactly_the_weights_that_the_ratio_keeps(trained: Detector, problem: Ask) -> None:
    assert convolution(trained, 3).weight.is_contiguous(memory_format=torch.channels_last)
    objective = Watched(ratio=0.65)
    scores = hydra(trained, problem(ratio=0.65, objective=objective), settings(epochs=2))
    assert objective.calls == 4
    for name, layer in trained.prunable_layers().items():
        assert scores[name].shape == layer.weight.shape
        assert scores[name].is_contiguous()
        assert not scores[name].requires_grad
        assert (scores[name] >= 0).all()


def test_every_step_sees_coupled_filters_kept_or_pruned_together(trained: Detector, problem: Ask) -> None:
    groups = couplings(trained, trained.prunable_layers())
    seen: list[Mapping[str, Tensor]] = []
    by_group: dict[int, Tensor] = {}

    def watched(
        detector: Detector, images: Tensor, targets: Sequence[Assignment], weights: Mapping[str, Tensor]
    ) -> Tensor:
        for group in groups:
            for name, (inputs, decisions) in group.readers.items():
                read = weights[f"{name}.weight"].transpose(0, 1).flatten(1).any(dim=1)[inputs]
                kept = torch.zeros(group.decisions, dtype=torch.bool).index_put((decisions,), read)
                assert int(kept.sum()) == keep_count(0.75, group.decisions)
                by_group.setdefault(id(group), kept)
                assert torch.equal(by_group[id(group)], kept)
        seen.append(weights)
        by_group.clear()
        return robust(detector)(detector, images, targets, weights)

    hydra(trained, problem(structure="structured", ratio=0.75, objective=watched), settings(epochs=2))
    assert len(seen) == 4


def test_heads_are_scored_on_request(trained: Detector, problem: Ask) -> None:
    heads = trained.prunable_layers(heads=True).keys() - trained.prunable_layers().keys()
    assert len(heads) == 2
    assert not heads & hydra(trained, problem(), settings(epochs=0)).keys()
    assert heads < hydra(trained, problem(prune_heads=True), settings()).keys()


def test_optimised_scores_lose_less_than_initial_and_random_ones(
    trained: Detector, samples: Samples, problem: Ask
) -> None:
    question = problem(ratio=0.5)
    groups = couplings(trained, trained.prunable_layers())
    batch = batch_of(trained, samples, range(len(samples)))

    def robust_loss(scores: Mapping[str, Tensor]) -> float:
        masks, layers = question.masks(scores, groups), trained.prunable_layers()
        weights = {f"{name}.weight": (layer.weight * masks[name]).detach() for name, layer in layers.items()}
        return robust(trained)(copy.deepcopy(trained).train(), *batch, weights).item()

    initial = hydra(trained, question, settings(epochs=0))
    generator = torch.Generator().manual_seed(0)
    random = {name: torch.rand(score.shape, generator=generator) for name, score in initial.items()}
    optimised = robust_loss(hydra(trained, question, settings(epochs=24)))
    assert optimised < 0.9 * robust_loss(initial)
    assert optimised < 0.9 * robust_loss(random)


def test_a_loss_that_is_no_number_stops_the_optimisation(trained: Detector, problem: Ask) -> None:
    with torch.no_grad():
        batch_norm(trained, 0).weight.fill_(torch.nan)
    with pytest.raises(DivergedError, match="the robust loss became nan while hydra optimised its scores"):
        hydra(trained, problem(), settings())
