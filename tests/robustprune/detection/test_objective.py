"""The robust objective: what it adds up, under which weights, and what it leaves untouched."""

from functools import partial

import pytest
import torch
from torch import Tensor

from robustprune.attacks import AttackLoss, pgd
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Batch, Samples
from robustprune.detection.losses import ciou
from robustprune.detection.losses.assignment import assign
from robustprune.detection.objective import Objective

CLEAN = Objective(loss=ciou)
ROBUST = Objective(loss=ciou, attack=partial(pgd, epsilon=0.05, step_size=0.02, steps=3))
HARMLESS = Objective(loss=ciou, attack=partial(pgd, epsilon=0.0, step_size=0.02, steps=3))


@pytest.fixture
def batch(samples: Samples) -> Batch:
    return samples.batch(range(4))


def state(detector: Detector) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in detector.state_dict().items()}


def test_an_attack_without_strength_doubles_the_clean_loss(nano: Detector, batch: Batch) -> None:
    nano.eval()
    clean = CLEAN(nano, batch.images, batch.targets)
    assert torch.equal(HARMLESS(nano, batch.images, batch.targets), 2 * clean)


def test_in_training_batch_norm_sees_both_halves_at_once(nano: Detector, batch: Batch) -> None:
    # The same images twice have the mean and the variance of once, so the normalised features agree.
    clean = CLEAN(nano, batch.images, batch.targets)
    torch.testing.assert_close(HARMLESS(nano, batch.images, batch.targets), 2 * clean, rtol=1e-4, atol=0)
    assert {norm.num_batches_tracked.item() for norm in norms(nano)} == {2}


def norms(detector: Detector) -> list[torch.nn.BatchNorm2d]:
    return [module for module in detector.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_the_robust_loss_is_clean_plus_attacked(trained: Detector, batch: Batch) -> None:
    assignments = assign(batch.targets, trained.heads, 64)
    attacked = ROBUST.attacked(trained, batch.images, assignments)
    parts = [CLEAN(trained, images, batch.targets) for images in (batch.images, attacked)]
    torch.testing.assert_close(ROBUST(trained, batch.images, batch.targets), sum(parts))
    assert parts[1] > 2 * parts[0]
    assert 0.04 < (attacked - batch.images).abs().max() <= 0.05 + 1e-6


@pytest.mark.parametrize("training", [True, False])
def test_an_attack_leaves_no_trace_in_the_detector(nano: Detector, batch: Batch, training: bool) -> None:
    nano.train(training)
    nano.layers[0].conv.weight.requires_grad_(False)
    before = state(nano)
    ROBUST.attacked(nano, batch.images, assign(batch.targets, nano.heads, 64))
    assert all(torch.equal(tensor, before[name]) for name, tensor in nano.state_dict().items())
    assert all(module.training is training for module in nano.modules())
    fixed = [name for name, parameter in nano.named_parameters() if not parameter.requires_grad]
    assert fixed == ["layers.0.conv.weight"]
    assert all(parameter.grad is None for parameter in nano.parameters())


def test_the_loss_reaches_the_parameters(nano: Detector, batch: Batch) -> None:
    ROBUST(nano, batch.images, batch.targets).backward()
    assert all(parameter.grad is not None for parameter in nano.parameters())
    assert nano.layers[0].conv.weight.grad.abs().max() > 0


def test_given_weights_stand_in_for_the_detectors_own(trained: Detector, batch: Batch) -> None:
    name = "layers.3.conv.weight"
    own = trained.get_parameter(name)
    other = (0.5 * own).detach().requires_grad_()
    found = ROBUST(trained, batch.images, batch.targets, {name: other})
    found.backward()
    assert other.grad is not None
    assert other.grad.abs().max() > 0
    assert own.grad is None

    with torch.no_grad():
        own.mul_(0.5)
    # The attack, too, must have been on the given weights.
    assert torch.equal(found, ROBUST(trained, batch.images, batch.targets))


@pytest.mark.parametrize("objective", [CLEAN, ROBUST])
def test_images_without_objects(nano: Detector, batch: Batch, objective: Objective) -> None:
    found = objective(nano, batch.images, torch.zeros(0, 6))
    found.backward()
    assert found.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in nano.parameters())


def test_restarts_are_compared_by_the_loss_of_each_image_alone(trained: Detector, batch: Batch) -> None:
    def attack(loss: AttackLoss, images: Tensor) -> Tensor:
        return loss.per_image(images)

    losses = Objective(loss=ciou, attack=attack).attacked(
        trained, batch.images, assign(batch.targets, trained.heads, 64)
    )
    for index, loss in enumerate(losses):
        own = batch.targets[batch.targets[:, 0] == index].clone()
        own[:, 0] = 0
        torch.testing.assert_close(loss, CLEAN(trained, batch.images[index : index + 1], own).detach())


def test_more_restarts_never_lower_an_images_loss(trained: Detector, batch: Batch) -> None:
    losses = []
    for restarts in (1, 3):
        generator = torch.Generator().manual_seed(0)
        attack = partial(pgd, epsilon=0.02, step_size=0.01, steps=1, restarts=restarts, generator=generator)
        assignments = assign(batch.targets, trained.heads, 64)
        attacked = Objective(loss=ciou, attack=attack).attacked(trained, batch.images, assignments)
        measure = Objective(loss=ciou, attack=lambda loss, images: loss.per_image(images))
        losses.append(measure.attacked(trained, attacked, assignments))
    assert (losses[1] >= losses[0]).all()
    assert (losses[1] > losses[0]).any()


def test_the_images_and_targets_are_not_changed(nano: Detector, batch: Batch) -> None:
    images, targets = batch.images.clone(), batch.targets.clone()
    ROBUST(nano, batch.images, batch.targets)
    assert torch.equal(batch.images, images)
    assert torch.equal(batch.targets, targets)
