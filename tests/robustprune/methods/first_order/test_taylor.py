"""Taylor's scores against closed forms, and against what the loss really does when a weight goes."""

from __future__ import annotations

import copy
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
from robustprune.methods.first_order.taylor import TaylorSettings, taylor
from tests.robustprune.detection.pruned import convolution
from tests.robustprune.detection.tasks import batch_of, under
from tests.robustprune.methods.linear import IMAGES, LinearTask, network, problem
from tests.robustprune.training.keeper import Told


@pytest.mark.parametrize("squared", [False, True])
def test_it_is_the_weight_times_its_gradient(squared: bool) -> None:
    linear, task = network(), LinearTask(squared=squared)
    weight = linear.get_parameter("0.weight").detach()
    residual = 2 * (task.inputs @ weight.T - task.targets) if squared else -task.targets
    gradient = residual.T @ task.inputs / IMAGES
    found = taylor(linear, problem(task), TaylorSettings(batch_size=IMAGES))
    assert list(found) == ["0"]
    torch.testing.assert_close(found["0"], (weight * gradient).abs().float())


def test_of_a_linear_loss_it_is_by_how_much_the_loss_changes_without_a_weight() -> None:
    linear, task = network(), LinearTask()
    found = taylor(linear, problem(task), TaylorSettings(batch_size=IMAGES))["0"]
    with torch.no_grad():
        whole = task.loss(linear(task.inputs), task.targets)
        for row, column in torch.cartesian_prod(*map(torch.arange, found.shape)).tolist():
            without = copy.deepcopy(linear)
            without.get_parameter("0.weight")[row, column] = 0
            change = (task.loss(without(task.inputs), task.targets) - whole).abs()
            assert found[row, column].item() == pytest.approx(change.item())


def test_it_is_the_mean_of_the_magnitudes_of_batches() -> None:
    linear, task = network(), LinearTask(squared=True)
    weight = linear.get_parameter("0.weight").detach()
    expected = torch.zeros_like(weight)
    for inputs, targets in zip(task.inputs.split(2), task.targets.split(2), strict=True):
        gradient = 2 * (inputs @ weight.T - targets).T @ inputs / len(inputs)
        expected += (weight * gradient).abs() / 3
    found = taylor(linear, problem(task), TaylorSettings(batch_size=2))["0"]
    assert found.dtype == torch.float32
    assert not found.requires_grad
    torch.testing.assert_close(found, expected.float())
    assert not torch.allclose(found, taylor(linear, problem(task), TaylorSettings(batch_size=IMAGES))["0"])


def test_it_tells_of_every_batch() -> None:
    told = Told()
    taylor(network(), replace(problem(LinearTask()), progress=told), TaylorSettings(batch_size=2))
    assert told.reports == [(done, 3, "batch", {}) for done in range(4)]


def test_only_so_many_images_are_used_as_are_asked_for_and_there() -> None:
    linear, task, fewer = network(), LinearTask(), LinearTask()
    fewer.inputs, fewer.targets, fewer.images = task.inputs[:3], task.targets[:3], 3
    expected = taylor(linear, problem(fewer), TaylorSettings(batch_size=2))["0"]
    assert torch.equal(taylor(linear, problem(task), TaylorSettings(images=3, batch_size=2))["0"], expected)
    every = taylor(linear, problem(task), TaylorSettings(batch_size=2))["0"]
    assert torch.equal(taylor(linear, problem(task), TaylorSettings(images=100, batch_size=2))["0"], every)
    assert not torch.equal(every, expected)


def test_under_attack_it_is_of_the_robust_loss() -> None:
    def shifted(loss: AttackLoss, inputs: Tensor) -> Tensor:
        return inputs + 0.5

    linear, task = network(), LinearTask()
    gradient = -task.targets.T @ (task.inputs + (task.inputs + 0.5)) / IMAGES
    found = taylor(linear, problem(task, attack=shifted), TaylorSettings(batch_size=IMAGES))["0"]
    torch.testing.assert_close(found, (linear.get_parameter("0.weight").detach() * gradient).abs().float())


def detection(detector: Detector, samples: Samples, **options: bool) -> Problem:
    objective = under(partial(pgd, epsilon=0.05, step_size=0.05, steps=1), detector, samples, **options)
    return Problem(task=objective.task, objective=objective, generator=torch.Generator())


def test_of_a_detector_it_is_the_weight_times_the_gradient_in_eval_mode(trained: Detector, samples: Samples) -> None:
    asked = detection(trained, samples)
    found = taylor(trained, asked, TaylorSettings(images=4, batch_size=4))
    asked.objective(trained, *batch_of(trained, samples, range(4))).backward()
    layers = trained.prunable_layers()
    assert list(found) == list(layers)
    for name, layer in layers.items():
        assert layer.weight.grad is not None
        torch.testing.assert_close(found[name], (layer.weight * layer.weight.grad).detach().abs())


def test_heads_are_scored_on_request(trained: Detector, samples: Samples) -> None:
    heads = trained.prunable_layers(heads=True).keys() - trained.prunable_layers().keys()
    found = taylor(trained, detection(trained, samples, prune_heads=True), TaylorSettings(images=2))
    assert heads < found.keys()


def test_the_detector_and_the_random_numbers_are_left_alone(trained: Detector, samples: Samples) -> None:
    trained.train()
    convolution(trained, 0).weight.requires_grad_(False)
    before, state = copy.deepcopy(trained), torch.get_rng_state()
    taylor(trained, detection(trained, samples), TaylorSettings(images=2, batch_size=1))
    assert all(torch.equal(tensor, before.state_dict()[name]) for name, tensor in trained.state_dict().items())
    assert all(module.training for module in trained.modules())
    for name, parameter in trained.named_parameters():
        assert parameter.requires_grad is (name != "layers.0.conv.weight")
        assert parameter.grad is None
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loss_that_is_no_number_is_an_error() -> None:
    linear, task = network(), LinearTask()
    task.targets[3, 0] = torch.nan
    with pytest.raises(DivergedError, match="the loss became nan while taylor took its gradient"):
        taylor(linear, problem(task), TaylorSettings(batch_size=2))


def test_its_scores_serve_every_structure_and_ratio_and_compare_between_layers() -> None:
    entry = INITIALIZERS["taylor"]
    assert not entry.per_structure
    assert not entry.per_ratio
    assert entry.comparable
    assert entry.sees_images
    assert entry.attacks
