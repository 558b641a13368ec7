"""SNIP's scores against closed forms, of a network small enough to differentiate by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from robustprune.attacks import AttackLoss, pgd
from robustprune.core.errors import DivergedError
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples
from robustprune.methods import INITIALIZERS, Problem
from robustprune.methods.first_order.snip import SnipSettings, snip
from tests.robustprune.detection.tasks import batch_of, under
from tests.robustprune.methods.linear import IMAGES, LinearTask, network, problem
from tests.robustprune.training.keeper import Told


def sensitivities(task: LinearTask, weight: Tensor) -> Tensor:
    """Return |w · ∂L/∂w| of mean squared errors over all images, over their sum."""
    gradient = 2 * (task.inputs @ weight.T - task.targets).T @ task.inputs / IMAGES
    magnitude = (weight * gradient).abs()
    return (magnitude / magnitude.sum()).float()


@pytest.mark.parametrize("batch_size", [1, 2, IMAGES])
def test_it_is_the_weight_times_its_gradient_over_all_images_whatever_the_batches(batch_size: int) -> None:
    linear, task = network(), LinearTask(squared=True)
    found = snip(linear, problem(task), SnipSettings(images=None, batch_size=batch_size))
    assert list(found) == ["0"]
    assert found["0"].dtype == torch.float32
    assert not found["0"].requires_grad
    torch.testing.assert_close(found["0"], sensitivities(task, linear.get_parameter("0.weight").detach()))
    assert float(found["0"].double().sum()) == pytest.approx(1)


def test_it_is_the_derivative_by_a_gate_at_each_weight() -> None:
    linear, task = network(), LinearTask(squared=True)
    weight = linear.get_parameter("0.weight").detach()
    gates = torch.ones_like(weight, requires_grad=True)
    task.loss(task.inputs @ (gates * weight).T, task.targets).backward()
    assert gates.grad is not None
    expected = gates.grad.abs() / gates.grad.abs().sum()
    torch.testing.assert_close(snip(linear, problem(task), SnipSettings())["0"], expected.float())


def test_only_so_many_images_are_used_as_are_asked_for_and_there() -> None:
    linear, task, fewer = network(), LinearTask(), LinearTask()
    fewer.inputs, fewer.targets, fewer.images = task.inputs[:3], task.targets[:3], 3
    expected = snip(linear, problem(fewer), SnipSettings(batch_size=2))["0"]
    assert torch.equal(snip(linear, problem(task), SnipSettings(images=3, batch_size=2))["0"], expected)
    assert not torch.equal(snip(linear, problem(task), SnipSettings())["0"], expected)


def test_it_tells_of_every_batch() -> None:
    told = Told()
    snip(network(), replace(problem(LinearTask()), progress=told), SnipSettings(batch_size=2))
    assert told.reports == [(done, 3, "batch", {}) for done in range(4)]


def test_under_attack_it_is_of_the_robust_loss() -> None:
    def shifted(loss: AttackLoss, inputs: Tensor) -> Tensor:
        return inputs + 0.5

    linear, task = network(), LinearTask()
    found = snip(linear, problem(task, attack=shifted), SnipSettings())["0"]
    change = linear.get_parameter("0.weight").detach() * (task.targets.T @ (2 * task.inputs + 0.5))
    torch.testing.assert_close(found, (change.abs() / change.abs().sum()).float())


def test_where_no_weight_matters_all_scores_are_zero() -> None:
    task = LinearTask()
    task.targets.zero_()
    found = snip(network(), problem(task), SnipSettings())["0"]
    assert torch.equal(found, torch.zeros_like(found))


def test_of_a_detector_the_scores_of_all_layers_sum_to_one(trained: Detector, samples: Samples) -> None:
    objective = under(partial(pgd, epsilon=0.05, step_size=0.05, steps=1), trained, samples)
    asked = Problem(task=objective.task, objective=objective, generator=torch.Generator())
    found = snip(trained, asked, SnipSettings(images=4, batch_size=4))
    objective(trained, *batch_of(trained, samples, range(4))).backward()
    layers = trained.prunable_layers()
    changes = {}
    for name, layer in layers.items():
        assert layer.weight.grad is not None
        changes[name] = (layer.weight * layer.weight.grad).detach().abs()
    whole = sum(float(change.double().sum()) for change in changes.values())
    assert list(found) == list(layers)
    for name, change in changes.items():
        torch.testing.assert_close(found[name], change / whole)


def test_a_loss_that_is_no_number_is_an_error() -> None:
    task = LinearTask()
    task.targets[3, 0] = torch.nan
    with pytest.raises(DivergedError, match="the loss became nan while snip took its gradient"):
        snip(network(), problem(task), SnipSettings(batch_size=2))


def test_its_scores_serve_every_structure_and_ratio_and_compare_between_layers() -> None:
    entry = INITIALIZERS["snip"]
    assert (entry.per_structure, entry.per_ratio, entry.comparable) == (False, False, True)
    assert (entry.sees_images, entry.attacks) == (True, True)
    work = entry.work
    assert work is not None
    assert work(SnipSettings(), forward=2.0, images=1000, attack=None).operations == 128 * 3 * 2.0
