"""Renew batch norm's statistics after masks have changed them, so that the network is measured and not its past."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustprune.core.operations import FORWARD, AttackWork, Work, counted
from robustprune.core.settings import Settings
from robustprune.task import Task
from robustprune.training.batch_norm import average_statistics, remembered, tracked
from robustprune.training.objective import Objective

FORGOTTEN = 0.01
"""How much of what running averages were before a training may be left in them for these to be the training's own."""


class Renewal(Settings):
    """One pass over training images, clean and, where they are trained on, attacked. No weight changes."""

    images: int = Field(default=512, ge=2, description="training images, drawn from the seed; all if there are fewer")
    batch_size: int = Field(default=32, ge=2, description="images per batch, whose statistics are averaged")


def capped(settings: Renewal | None, *, images: int) -> list[str]:
    """Return a sentence where fewer training images are there than a user asks for; else nothing.

    The default is a limit, for data of any size.
    """
    if settings is None or settings.images <= images or settings.images == Renewal().images:
        return []
    return [
        f"renewal.images is {settings.images:,}, more than the {counted(images, 'image')} to train on: statistics are "
        "renewed on all of these"
    ]


def is_due(network: nn.Module, *, steps: int) -> bool:
    """Say whether so many training steps leave more than `FORGOTTEN` of the running averages before them."""
    return remembered(network, steps) > FORGOTTEN


def renew(network: nn.Module, *, objective: Objective, settings: Renewal, generator: torch.Generator) -> None:
    """Set batch norm's running statistics to averages over training images, as training would have it see them.

    An attack needs statistics itself: it is one of the network with those of the clean images.

    Args:
        network: in eval mode.
        objective: what it is trained to lower.
        settings: how many images.
        generator: on the CPU; the only source of randomness.
    """
    if not tracked(network):
        return
    task = objective.task
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    average_statistics(network, task, (inputs for inputs, _ in _drawn(task, settings, seed)))
    if objective.attack is None:
        return
    attacked = copy.deepcopy(network)

    def seen() -> Iterator[Tensor]:
        for inputs, targets in _drawn(task, settings, seed):
            found = objective.attacked(attacked, inputs, targets)
            yield torch.cat([inputs, found]) if objective.clean_too else found

    average_statistics(network, task, seen())


def renewal_work(
    settings: Renewal, *, forward: float, images: int, attack: AttackWork | None, clean_too: bool = True
) -> Work:
    """Return the work of a renewal; arguments are those of `core.operations.training`."""
    used = min(settings.images, images)
    passes = FORWARD + (0 if attack is None else attack.passes + (1 + clean_too) * FORWARD)
    return Work(f"renewing statistics: {counted(used, 'image')}", float(used) * passes * forward)


def _drawn(task: Task, settings: Renewal, seed: int) -> Iterator[tuple[Tensor, Any]]:
    """Yield batches of unchanged images from all that there are to train on: the first ones may be of a kind."""
    left = min(settings.images, task.images)
    size = min(settings.batch_size, left)
    for inputs, targets in task.batches(size, generator=torch.Generator().manual_seed(seed), augmented=False):
        # A batch is used as a whole, for its targets are: the last one may take the images to a few more than asked.
        yield inputs, targets
        left -= len(inputs)
        if left <= 0:
            return
