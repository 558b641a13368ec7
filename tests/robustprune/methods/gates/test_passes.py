"""Passes through open and closed gates: they are those of gated weights, but for rounding, whatever they leave out."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustprune.attacks import pgd
from robustprune.detection.darknet import Detector, build, cfg
from robustprune.detection.darknet.couplings import couplings
from robustprune.detection.data.samples import Samples
from robustprune.methods import Problem, hydra
from robustprune.methods.gates import GatedPasses, gated, passes
from robustprune.methods.gates.closed import Smaller, can_be_left_out
from robustprune.structures.groups import CoupledGroup
from robustprune.training import Objective
from robustprune.training.objectives.gradient_alignment import Alignment
from tests.robustprune.classification.small import bright_or_dark, task_on
from tests.robustprune.detection.darknet.compact.test_narrowing import InDoublePrecision
from tests.robustprune.detection.darknet.random_cfg import cfg_texts
from tests.robustprune.detection.pruned import HEAD, conv, detector_of, randomised
from tests.robustprune.structures.networks import KINDS, SIZE, classifier, groups_of
from tests.robustprune.training.keeper import Told

ATTACK = partial(pgd, epsilon=0.05, step_size=0.02, steps=2)


class Passed(NamedTuple):
    """What a pass left behind."""

    loss: Tensor
    gradients: list[Tensor | None]
    buffers: dict[str, Tensor]


def draw(groups: Sequence[CoupledGroup], ratio: float, seed: int = 0) -> list[Tensor]:
    """Return which channels are kept, at least the first of each group."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.rand(group.decisions, generator=generator) >= ratio).index_fill(0, torch.tensor(0), True)
        for group in groups
    ]


def passed(
    network: nn.Module, groups: Sequence[CoupledGroup], kept: Sequence[Tensor], objective: Objective, *, whole: bool
) -> Passed:
    """Pass a batch through a copy of the network, with gated weights or as hydra does."""
    network = copy.deepcopy(network).requires_grad_(False).train()
    gates = [stays.double().requires_grad_() for stays in kept]
    inputs, targets = next(iter(objective.task.batches(4)))
    torch.manual_seed(0)  # of dropout
    if whole:
        loss = objective(network, inputs.double(), targets, gated(network, groups, gates))
    else:
        loss = GatedPasses(network, groups).loss(objective, inputs.double(), targets, gates, kept)
    gradients = torch.autograd.grad(loss, gates, allow_unused=True) if loss.requires_grad else [None] * len(gates)
    return Passed(loss.detach(), list(gradients), dict(network.named_buffers()))


def compare(network: nn.Module, groups: Sequence[CoupledGroup], kept: Sequence[Tensor], objective: Objective) -> None:
    mine, theirs = (passed(network, groups, kept, objective, whole=whole) for whole in (False, True))
    torch.testing.assert_close(mine.loss, theirs.loss, rtol=1e-9, atol=1e-9)
    for one, other in zip(mine.gradients, theirs.gradients, strict=True):
        # A gate that nothing reads has none; where its channel is whole, it multiplied nothing before.
        zero = torch.zeros(())
        torch.testing.assert_close(zero if one is None else one, zero if other is None else other, rtol=1e-7, atol=1e-9)
    for name, buffer in theirs.buffers.items():
        torch.testing.assert_close(mine.buffers[name], buffer, rtol=1e-9, atol=1e-9)


class Summed:
    """A task of any detector: its outputs weighed and squared, in float64."""

    has_logits = False

    def __init__(self, detector: Detector) -> None:
        generator = torch.Generator().manual_seed(0)
        self._images = torch.rand(4, detector.channels, *detector.image_size, generator=generator).double()
        self.task = InDoublePrecision.of(detector, image_size=detector.image_size[0])
        self.outputs, self.held_still, self.halves = self.task.outputs, self.task.held_still, self.task.halves

    def batches(self, _: int) -> list[tuple[Tensor, None]]:
        return [(self._images, None)]

    def loss(self, outputs: Sequence[Tensor], _: None) -> Tensor:
        weighed = (output * torch.linspace(-1, 1, output[0].numel()).view(output.shape[1:]) for output in outputs)
        return torch.stack([each.square().mean() for each in weighed]).sum()

    attack_loss = loss


@settings(deadline=None, max_examples=60)
@given(cfg_texts(), st.sampled_from([0.3, 0.6, 0.9]), st.integers(0, 3), st.booleans())
def test_of_any_graph_loss_gradients_and_statistics_are_those_of_gated_weights(
    text: str, ratio: float, seed: int, heads: bool
) -> None:
    torch.manual_seed(0)
    detector = randomised(build(cfg.parse(text)), seed).double()
    groups = couplings(detector, detector.prunable_layers(heads=heads))
    task: Any = Summed(detector)
    compare(detector, groups, draw(groups, ratio, seed), Objective(task=task, attack=ATTACK, clean_too=True))


@pytest.mark.parametrize("kinds", [(kind,) for kind in KINDS] + [("projected", "depthwise", "option A", "plain")])
@pytest.mark.parametrize("attack", [None, ATTACK])
@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_of_networks_followed_by_depgraph_too(kinds: tuple[str, ...], attack: Any, ratio: float) -> None:
    network = classifier([(kind, 2) for kind in kinds], hidden=6).double()
    groups = groups_of(network)
    assert any(can_be_left_out(network, groups))
    task = task_on(bright_or_dark(4, size=SIZE))
    compare(network, groups, draw(groups, ratio), Objective(task=task, attack=attack, clean_too=attack is not None))


def test_a_term_of_gradients_is_that_of_gated_weights() -> None:
    network = classifier([("projected", 2)]).double()
    groups, task = groups_of(network), task_on(bright_or_dark(4, size=SIZE))

    def objective() -> Objective:
        alignment = Alignment(weight=1.0, epsilon=0.05, generator=torch.Generator().manual_seed(0))
        return Objective(task=task, attack=ATTACK, alignment=alignment)

    kept = draw(groups, 0.5)
    mine, theirs = (passed(network, groups, kept, objective(), whole=whole) for whole in (False, True))
    assert torch.equal(mine.loss, theirs.loss)
    assert mine.gradients[0] is not None


def test_the_attacked_network_is_small_and_the_same_one_every_time() -> None:
    detector = randomised(Detector.from_cfg("yolov3-nano")).double()
    groups = couplings(detector, detector.prunable_layers())
    smaller = Smaller(detector, groups)
    first = smaller.without([torch.arange(group.decisions) < 3 for group in groups], {})
    assert {len(first.get_submodule(name).weight) for name in detector.prunable_layers()} == {3}  # type: ignore[arg-type]
    second = smaller.without([torch.ones(group.decisions, dtype=torch.bool) for group in groups], {})
    assert second is first
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    for output, other in zip(detector.eval()(images), second.eval()(images), strict=True):
        assert torch.equal(output, other)


def test_what_counts_or_mixes_channels_keeps_them() -> None:
    reorg = detector_of(conv(8), "[reorg]\nstride=2\n", conv(8), HEAD)
    named = {next(iter(group.filters)): group.leaves for group in couplings(reorg, reorg.prunable_layers(heads=True))}
    assert named == {"layers.0.conv": False, "layers.2.conv": True, "layers.3.conv": False}


@pytest.mark.parametrize("ratio", [0.5, 0.9])
def test_twenty_steps_of_hydra_take_the_course_of_gated_weights(
    samples: Samples, ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = randomised(Detector.from_cfg("yolov3-nano", classes=len(samples.split.categories))).double()
    courses, found = [], []
    for leaves in (True, False):
        if not leaves:
            monkeypatch.setattr(passes, "can_be_left_out", lambda _, groups: [False] * len(groups))
        told = Told()
        task = InDoublePrecision.of(detector, image_size=samples.image_size, train=samples)
        problem = Problem(
            task=task,
            objective=Objective(task=task, attack=ATTACK, clean_too=True),
            generator=torch.Generator().manual_seed(0),
            structure="structured",
            ratio=ratio,
            comparable=True,
            progress=told,
        )
        scores = hydra.hydra(detector, problem, hydra.HydraSettings(epochs=10, batch_size=4))
        courses.append([said["loss"] for *_, said in told.reports if "loss" in said])
        found.append((scores, problem.masks(scores, task.coupled_groups(detector))))
    assert len(courses[0]) >= 20
    assert courses[0] == pytest.approx(courses[1], rel=1e-5)
    (mine, my_masks), (theirs, their_masks) = found
    for name, expected in theirs.items():
        torch.testing.assert_close(mine[name], expected, rtol=1e-5, atol=1e-9)
        assert torch.equal(my_masks[name], their_masks[name])
