"""The settings of a training, whatever is trained; a task's own add the optimizer's, and how images are augmented."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from robustprune.core.settings import Settings
from robustprune.training.schedules import one_cycle


class Training(Settings):
    """What every training has."""

    epochs: int = Field(ge=0, description="passes over the training images; 0: no training")
    batch_size: int = Field(ge=1, description="images per step")
    learning_rate: float = Field(gt=0, description="length of a step; the largest, where a schedule changes it")
    weight_decay: float = Field(default=5e-4, ge=0, description="share of each weight in its gradient, an L2 penalty")

    @property
    def augmented(self) -> bool:
        """Whether images are changed at random."""
        return True

    @property
    def largest_gradient(self) -> float | None:
        """The norm to which gradients are cut, if any."""
        return None

    def optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """Return what changes the parameters."""
        raise NotImplementedError

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a step, counted from 0 over all epochs."""
        return self.learning_rate * one_cycle((step + 0.5) / (self.epochs * steps_per_epoch))


Optimizer = Literal["sgd", "adam"]


class ChosenOptimizer(Training):
    """A training whose settings choose its optimizer: `by` SGD, with `momentum`, or by Adam."""

    by: Optimizer
    momentum: float

    def optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """Return what was chosen."""
        rate, decay = self.learning_rate, self.weight_decay
        if self.by == "adam":
            return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)
        return torch.optim.SGD(parameters, lr=rate, momentum=self.momentum, weight_decay=decay, fused=True)
