"""Renewed statistics: a masked network is measured by its own. Attacks in training meet the loss that is lowered."""

import copy
from functools import partial
from typing import cast

import pytest
import torch
from torch import Tensor

from robustprune.attacks import AttackLoss, pgd
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.couplings import couplings
from robustprune.detection.data.samples import Samples
from robustprune.structures import draw_masks
from robustprune.structures.masks import apply
from robustprune.training import Objective, Renewal
from robustprune.training.batch_norm import tracked
from robustprune.training.renewal import is_due, renew
from tests.robustprune.detection.pruned import convolution
from tests.robustprune.detection.tasks import batch_of, task_of, under

ROBUST = partial(under, partial(pgd, epsilon=0.05, step_size=0.02, steps=5))
RATIOS = (0.0, 0.5, 0.75, 0.9)


def pruned(detector: Detector, ratio: float, structure: str = "unstructured") -> Detector:
    """Return a copy without its smallest weights."""
    smaller = copy.deepcopy(detector)
    layers = smaller.prunable_layers()
    scores = {name: layer.weight.detach().abs() for name, layer in layers.items()}
    apply(
        draw_masks(structure, scores, ratio, groups=couplings(smaller, layers), scope="layer", comparable=True),
        smaller,
    )
    return smaller.eval()


def renewed(detector: Detector, samples: Samples, objective: Objective, *, seed: int = 0, **settings: int) -> Detector:
    copied = copy.deepcopy(detector)
    generator = torch.Generator().manual_seed(seed)
    renew(copied, objective=objective, settings=Renewal(**settings), generator=generator)
    return copied


def losses_of(detector: Detector, samples: Samples) -> tuple[float, float]:
    """Return the loss of the images as the detector is measured, and as training would have it."""
    batch = batch_of(detector, samples, range(len(samples)))
    task = task_of(detector, samples)
    with torch.no_grad():
        return (
            float(task.loss(detector(batch.images), batch.targets)),
            float(task.loss(copy.deepcopy(detector).train()(batch.images), batch.targets)),
        )


@pytest.mark.parametrize("ratio", [0.5, 0.75, 0.9])
def test_a_masked_detector_is_measured_with_statistics_of_its_own(
    trained: Detector, samples: Samples, ratio: float
) -> None:
    masked = pruned(trained, ratio)
    stale, own = losses_of(masked, samples)
    after = renewed(masked, samples, Objective(task=task_of(masked, samples)), batch_size=len(samples))
    found, _ = losses_of(after, samples)
    assert abs(found - own) < abs(stale - own)
    assert found == pytest.approx(own, rel=0.02)


def test_no_weight_changes_and_the_seed_decides(trained: Detector, samples: Samples) -> None:
    objective = ROBUST(trained, samples)
    first, again, other = (
        renewed(trained, samples, objective, seed=seed, images=4, batch_size=2) for seed in (1, 1, 2)
    )
    for name, parameter in trained.named_parameters():
        assert torch.equal(parameter, first.get_parameter(name))
    buffers = dict(first.named_buffers())
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in again.named_buffers())
    assert not all(torch.equal(buffer, buffers[name]) for name, buffer in other.named_buffers())


def test_attacked_images_are_among_those_seen(trained: Detector, samples: Samples) -> None:
    seen: list[Tensor] = []

    def attack(loss: object, images: Tensor) -> Tensor:
        seen.append(images)
        return torch.zeros_like(images)

    size = len(samples)
    objective = under(attack, trained, samples)
    after = renewed(trained, samples, objective, batch_size=size)
    assert len(seen) == 1
    first = tracked(after)[0]
    batch = batch_of(trained, samples, range(size))
    first_convolution = convolution(trained, 0)
    both = torch.cat([batch.images, torch.zeros_like(batch.images)])
    assert first.running_mean is not None
    torch.testing.assert_close(
        first.running_mean, first_convolution(both).mean(dim=(0, 2, 3)).detach(), rtol=1e-4, atol=1e-5
    )


def test_it_is_due_after_few_steps_alone(trained: Detector) -> None:
    assert is_due(trained, steps=0)
    assert is_due(trained, steps=43)
    assert not is_due(trained, steps=44)


@pytest.mark.parametrize("structure", ["unstructured", "structured"])
@pytest.mark.parametrize("ratio", RATIOS)
def test_the_attack_raises_the_very_loss_that_is_lowered(
    trained: Detector, samples: Samples, ratio: float, structure: str
) -> None:
    """Training takes the loss of attacked images with the statistics of the batch that they are in, beside clean ones.

    Of what an attack on that function itself would add, the attack of training has to add half, also on this detector
    that was never trained under attack. With the running statistics of the dense detector it added next to nothing.
    """
    detector = pruned(trained, ratio, structure).train()
    objective = ROBUST(detector, samples)
    task, batch = objective.task, batch_of(detector, samples, range(len(samples)))

    def lowered(images: Tensor) -> Tensor:
        _, attacked = task.halves(copy.deepcopy(detector)(torch.cat([batch.images, images])))
        return task.loss(attacked, batch.targets)

    itself = pgd(cast(AttackLoss, lowered), batch.images, epsilon=0.05, step_size=0.02, steps=5)
    attacked = objective.attacked(detector, batch.images, batch.targets)
    stale = objective.attacked(copy.deepcopy(detector).eval(), batch.images, batch.targets)
    with torch.no_grad():
        most, found, old = (lowered(images) - lowered(batch.images) for images in (itself, attacked, stale))
    assert found > 0.5 * most > 0
    assert found > old
    if ratio >= 0.75:
        assert old < 0.5 * found


@pytest.mark.parametrize(("asked", "used"), [(4, 4), (5, 6), (6, 6), (512, 6)])
def test_all_images_asked_for_are_seen(trained: Detector, samples: Samples, asked: int, used: int) -> None:
    seen: list[int] = []

    def attack(loss: object, images: Tensor) -> Tensor:
        seen.append(len(images))
        return images

    renewed(trained, samples, under(attack, trained, samples), images=asked, batch_size=2)
    assert sum(seen) == used


def test_a_batch_norm_that_is_held_in_eval_mode_keeps_its_statistics(trained: Detector, samples: Samples) -> None:
    class Held(torch.nn.BatchNorm2d):
        def train(self, mode: bool = True) -> "Held":
            return super().train(False)

    detector = copy.deepcopy(trained)
    old = tracked(detector)[0]
    held = Held(old.num_features)
    held.load_state_dict(old.state_dict())
    detector.layers[0].batch_norm = held
    after = renewed(detector, samples, Objective(task=task_of(detector, samples)))
    first, second, *_ = tracked(after)
    assert torch.equal(first.running_mean, held.running_mean)  # type: ignore[arg-type]
    assert not torch.equal(second.running_mean, tracked(detector)[1].running_mean)  # type: ignore[arg-type]
