"""Train a classifier under an objective: pretraining, standard or adversarial, and retraining after pruning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.accuracy import accuracy, attacked_accuracy
from robustprune.classification.measure.attacks import FixedBudgetAttack
from robustprune.classification.networks.classifier import Classifier
from robustprune.classification.objective import Objective
from robustprune.core.errors import DivergedError
from robustprune.core.progress import NOWHERE, Progress
from robustprune.core.randomness import drawing_from
from robustprune.core.settings import Settings
from robustprune.training.schedules import one_cycle
from robustprune.training.state import TrainingState

SHIFT = 8
"""Images are shifted by up to an eighth of their side to augment them: 4 of 32 pixels, as is usual for CIFAR-10."""


class Training(Settings):
    """SGD with momentum over shuffled, mirrored and shifted batches, of which the best epoch is kept.

    By default as the reference retrains; it does not tell by which factor its exponential schedule falls.
    """

    epochs: int = Field(default=50, ge=0)
    batch_size: int = Field(default=256, ge=2)
    learning_rate: float = Field(default=0.001, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Literal["exponential", "one-cycle", "constant"] = "exponential"
    decay: float = Field(default=0.95, gt=0, le=1, description="of the learning rate per epoch, if exponential")
    augment: bool = Field(default=True, description="mirror and shift images at random")

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a step, counted from 0 over all epochs."""
        if self.schedule == "one-cycle":
            return self.learning_rate * one_cycle((step + 0.5) / (self.epochs * steps_per_epoch))
        falls = step // steps_per_epoch if self.schedule == "exponential" else 0
        return self.learning_rate * float(self.decay**falls)


def train(
    classifier: Classifier,
    images: LabelledImages,
    *,
    held_out: LabelledImages,
    objective: Objective,
    settings: Training,
    generator: torch.Generator,
    progress: Progress = NOWHERE,
) -> int:
    """Train `classifier` in place; return the epoch that was kept, from 1, or 0 where there was none.

    Kept is the epoch after which most of the images held out are classified rightly, under the objective's attack if
    it has one; among equals, the earliest.

    Args:
        classifier: left in eval mode.
        images: to train on.
        held_out: to choose the best epoch by.
        objective: what to lower.
        settings: optimizer and schedule.
        generator: on the CPU; the only source of randomness.
        progress: is offered the state after every epoch; training goes on from the one it has, to the same bits.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    device = classifier.mean.device
    optimizer = torch.optim.SGD(
        classifier.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    current = classifier.state_dict()
    best = {name: tensor.clone() for name, tensor in current.items()}
    # The epoch kept, and its accuracy.
    kept = torch.tensor([0.0, -1.0], dtype=torch.float64)
    state = TrainingState(
        tensors={
            **{f"current.{name}": tensor for name, tensor in current.items()},
            **{f"best.{name}": tensor for name, tensor in best.items()},
            "kept": kept,
        },
        optimizer=optimizer,
        generator=generator,
        progress=progress,
    )
    steps = steps_per_epoch(len(images), settings.batch_size)
    for epoch in range(state.resume() + 1, settings.epochs + 1):
        classifier.train()
        batches = training_batches(images, settings.batch_size, device=device, generator=generator)
        for step, (pixels, labels) in enumerate(batches, start=(epoch - 1) * steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate_at(step, steps)
            seen = augmented(pixels, generator) if settings.augment else pixels
            optimizer.zero_grad(set_to_none=True)
            loss = objective(classifier, seen, labels)
            if not loss.isfinite():
                raise DivergedError(f"the loss became {loss.item()} in epoch {epoch} of {settings.epochs}")
            loss.backward()
            optimizer.step()
        reached = _accuracy(classifier, held_out, objective, settings.batch_size)
        if reached > kept[1]:
            kept.copy_(torch.tensor([epoch, reached], dtype=kept.dtype))
            for name, tensor in best.items():
                tensor.copy_(current[name])
        state.save(epoch)
    classifier.load_state_dict(best)
    classifier.eval()
    return int(kept[0])


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return how many batches `training_batches` yields."""
    return images // batch_size + (images % batch_size > 1)


def training_batches(
    images: LabelledImages, batch_size: int, *, device: torch.device, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images in random order as `LabelledImages.batches` does, but no batch of one image.

    Batch norm may have nothing to normalise that by. Meanwhile torch's own generator, which dropout draws from, follows
    `generator`.
    """
    with drawing_from(generator, device):
        for pixels, labels in images.batches(batch_size, device=device, generator=generator):
            if len(labels) > 1:
                yield pixels, labels


def _accuracy(classifier: Classifier, images: LabelledImages, objective: Objective, batch_size: int) -> float:
    device = classifier.mean.device
    if objective.attack is None:
        return accuracy(classifier, images, batch_size=batch_size, device=device)
    # The ball is the attack's own affair.
    attack = FixedBudgetAttack(objective.attacked, norm="linf", epsilon=math.inf)
    return attacked_accuracy(classifier, images, attack=attack, batch_size=batch_size, device=device)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (N, 3, S, S), each mirrored or not, and shifted by up to S/8 pixels; beyond the edge is black."""
    count, _, _, size = images.shape
    most = size // SHIFT
    mirrored = torch.rand(count, generator=generator) < 0.5
    top, left = torch.randint(2 * most + 1, (2, count, 1), generator=generator)
    rows, columns = top + torch.arange(size), left + torch.arange(size)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = pad(images, [most] * 4)
    each = torch.arange(count)[:, None, None]
    # Advanced indices apart from the channels put these last.
    return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
