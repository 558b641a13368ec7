"""The robust objective: what it adds up, under which weights, and what it leaves untouched."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from robustprune.attacks import AttackLoss, pgd
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples
from robustprune.training import Objective
from tests.robustprune.detection.pruned import convolution
from tests.robustprune.detection.tasks import Assigned, assigned, batch_of, clean, under

robust = partial(under, partial(pgd, epsilon=0.05, step_size=0.02, steps=3))
harmless = partial(under, partial(pgd, epsilon=0.0, step_size=0.02, steps=3))


@pytest.fixture
def batch(nano: Detector, samples: Samples) -> Assigned:
    """Return four images as the task of either detector has them."""
    return batch_of(nano, samples, range(4))


def state(detector: Detector) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in detector.state_dict().items()}


def test_an_attack_without_strength_doubles_the_clean_loss(nano: Detector, batch: Assigned) -> None:
    nano.eval()
    assert torch.equal(harmless(nano)(nano, *batch), 2 * clean(nano)(nano, *batch))


def test_in_training_batch_norm_sees_both_halves_at_once(nano: Detector, batch: Assigned) -> None:
    # The same images twice have the mean and the variance of once, so the normalised features agree.
    once = clean(nano)(nano, *batch)
    torch.testing.assert_close(harmless(nano)(nano, *batch), 2 * once, rtol=1e-4, atol=0)
    assert {int(norm.get_buffer("num_batches_tracked")) for norm in norms(nano)} == {2}


def norms(detector: Detector) -> list[torch.nn.BatchNorm2d]:
    return [module for module in detector.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_the_robust_loss_is_clean_plus_attacked(trained: Detector, batch: Assigned) -> None:
    attacked = robust(trained).attacked(trained, *batch)
    parts = [clean(trained)(trained, images, batch.targets) for images in (batch.images, attacked)]
    torch.testing.assert_close(robust(trained)(trained, *batch), sum(parts))
    assert parts[1] > 2 * parts[0]
    assert 0.04 < (attacked - batch.images).abs().max() <= 0.05 + 1e-6


@pytest.mark.parametrize("training", [True, False])
def test_an_attack_leaves_no_trace_in_the_detector(nano: Detector, batch: Assigned, training: bool) -> None:
    nano.train(training)
    convolution(nano, 0).weight.requires_grad_(False)
    before = state(nano)
    robust(nano).attacked(nano, *batch)
    assert all(torch.equal(tensor, before[name]) for name, tensor in nano.state_dict().items())
    assert all(module.training is training for module in nano.modules())
    fixed = [name for name, parameter in nano.named_parameters() if not parameter.requires_grad]
    assert fixed == ["layers.0.conv.weight"]
    assert all(parameter.grad is None for parameter in nano.parameters())


def test_the_loss_reaches_the_parameters(nano: Detector, batch: Assigned) -> None:
    robust(nano)(nano, *batch).backward()
    assert all(parameter.grad is not None for parameter in nano.parameters())
    gradient = convolution(nano, 0).weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_given_weights_stand_in_for_the_detectors_own(trained: Detector, batch: Assigned) -> None:
    name = "layers.3.conv.weight"
    own = trained.get_parameter(name)
    other = (0.5 * own).detach().requires_grad_()
    found = robust(trained)(trained, *batch, {name: other})
    found.backward()
    assert other.grad is not None
    assert other.grad.abs().max() > 0
    assert own.grad is None

    with torch.no_grad():
        own.mul_(0.5)
    # The attack, too, must have been on the given weights.
    assert torch.equal(found, robust(trained)(trained, *batch))


@pytest.mark.parametrize("objective", [clean, robust])
def test_images_without_objects(nano: Detector, batch: Assigned, objective: Callable[[Detector], Objective]) -> None:
    found = objective(nano)(nano, *assigned(nano, batch.images, torch.zeros(0, 6)))
    found.backward()
    assert found.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in nano.parameters())


def test_restarts_are_compared_by_the_loss_of_each_image_alone(trained: Detector, samples: Samples) -> None:
    batch = samples.batch(range(4))

    def attack(loss: AttackLoss, images: Tensor) -> Tensor:
        return loss.per_image(images)

    losses = under(attack, trained).attacked(trained, *assigned(trained, batch.images, batch.targets))
    for index, loss in enumerate(losses):
        own = batch.targets[batch.targets[:, 0] == index].clone()
        own[:, 0] = 0
        alone = assigned(trained, batch.images[index : index + 1], own)
        torch.testing.assert_close(loss, clean(trained)(trained, *alone).detach())


def test_more_restarts_never_lower_an_images_loss(trained: Detector, batch: Assigned) -> None:
    losses = []
    for restarts in (1, 3):
        generator = torch.Generator().manual_seed(0)
        attack = partial(pgd, epsilon=0.02, step_size=0.01, steps=1, restarts=restarts, generator=generator)
        attacked = under(attack, trained).attacked(trained, *batch)
        measure = under(lambda loss, images: loss.per_image(images), trained)
        losses.append(measure.attacked(trained, attacked, batch.targets))
    assert (losses[1] >= losses[0]).all()
    assert (losses[1] > losses[0]).any()


def test_the_images_and_targets_are_not_changed(nano: Detector, batch: Assigned) -> None:
    images, targets = copy.deepcopy(batch)
    robust(nano)(nano, *batch)
    assert torch.equal(batch.images, images)
    for positive, before in zip(batch.targets, targets, strict=True):
        assert all(torch.equal(column, same) for column, same in zip(positive, before, strict=True))
