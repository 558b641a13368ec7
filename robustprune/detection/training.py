"""Train a detector under an objective: base training, adversarial pretraining and fine-tuning are all this loop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from robustprune.core.errors import DivergedError
from robustprune.core.progress import NOWHERE, Progress
from robustprune.core.settings import Settings
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples, flip_horizontally
from robustprune.detection.objective import Objective
from robustprune.structures import masks as masking
from robustprune.training.schedules import one_cycle
from robustprune.training.state import TrainingState


class Training(Settings):
    """Adam over shuffled, mirrored batches."""

    epochs: int = Field(ge=0)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Literal["constant", "one-cycle"] = "one-cycle"
    clip_norm: float | None = Field(default=10.0, gt=0)
    flip: bool = True


def train(
    detector: Detector,
    samples: Samples,
    *,
    objective: Objective,
    settings: Training,
    generator: torch.Generator,
    masks: Mapping[str, Tensor] | None = None,
    progress: Progress = NOWHERE,
) -> None:
    """Train `detector` in place.

    Args:
        detector: left in eval mode.
        samples: the training split.
        objective: what to lower.
        settings: optimizer and schedule.
        generator: on the CPU; the only source of randomness (order and mirroring).
        masks: weights to hold at exactly zero, by layer.
        progress: is offered the state after every epoch; training goes on from the one it has, to the same bits.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    layers = detector.prunable_layers(heads=True)
    device = next(detector.parameters()).device
    optimizer = torch.optim.Adam(detector.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    state = TrainingState(tensors=detector.state_dict(), optimizer=optimizer, generator=generator, progress=progress)
    steps_per_epoch = math.ceil(len(samples) / settings.batch_size)
    finished = state.resume()
    step, total = finished * steps_per_epoch, settings.epochs * steps_per_epoch
    detector.train()
    for epoch in range(finished + 1, settings.epochs + 1):
        for images, targets in batches(
            samples, batch_size=settings.batch_size, flip=settings.flip, generator=generator, device=device
        ):
            if settings.schedule == "one-cycle":
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate * one_cycle((step + 0.5) / total)
            optimizer.zero_grad(set_to_none=True)
            loss = objective(detector, images, targets)
            if not loss.isfinite():
                raise DivergedError(f"the loss became {loss.item()} in epoch {epoch} of {settings.epochs}")
            loss.backward()
            if settings.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(detector.parameters(), settings.clip_norm)
            optimizer.step()
            masking.apply(masks or {}, layers)
            step += 1
        state.save(epoch)
    detector.eval()


def batches(
    samples: Samples,
    *,
    batch_size: int,
    flip: bool,
    generator: torch.Generator,
    device: torch.device,
    count: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every sample (or the first `count`) once, in random order: images (N, 3, S, S) and targets (M, 6)."""
    order = torch.randperm(min(count or len(samples), len(samples)), generator=generator)
    for batch in samples.stream(indices.tolist() for indices in order.split(batch_size)):
        images = batch.images.to(device, memory_format=torch.channels_last)
        targets = batch.targets.to(device)
        if flip:
            mirrored = torch.rand(len(images), generator=generator) < 0.5
            images, targets = flip_horizontally(images, targets, mirrored.to(device))
        yield images, targets
