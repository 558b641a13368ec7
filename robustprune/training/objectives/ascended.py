"""What an attack in training raises: the task's loss of a batch as a function of its images, or an objective's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustprune.task import Task


@dataclass(frozen=True)
class TaskLoss:
    """The loss of one batch; see `attacks.AttackLoss`.

    Attributes:
        task: whose loss it is.
        answer: the network as a function of images alone.
        targets: of the batch.
    """

    task: Task
    answer: Callable[[Tensor], Any]
    targets: Any

    def __call__(self, images: Tensor) -> Tensor:
        """Return what attacks ascend, with its graph."""
        return self.task.attack_loss(self.answer(images), self.targets)

    @torch.no_grad()
    def per_image(self, images: Tensor) -> Tensor:
        """Return the loss of each image, (N,)."""
        return self.task.losses(self.answer(images), self.targets)


@dataclass(frozen=True)
class OwnLosses:
    """What an objective's attack raises, where that is its own; see `ObjectiveEntry.ascended`."""

    losses: Callable[[Any], Tensor]
    answer: Callable[[Tensor], Any]

    def __call__(self, images: Tensor) -> Tensor:
        """Return the sum over images, with its graph: an image's attack is the same in any batch."""
        return self.losses(self.answer(images)).sum()

    @torch.no_grad()
    def per_image(self, images: Tensor) -> Tensor:
        """Return what is raised of each image, (N,)."""
        return self.losses(self.answer(images))
