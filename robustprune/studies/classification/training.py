"""The settings of a classifier's training: SGD, as is usual for such networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from robustprune.training import Training


class SgdTraining(Training):
    """SGD with momentum over shuffled, mirrored and shifted batches, of which the best epoch is kept.

    By default as the reference retrains; it does not tell by which factor its exponential schedule falls.
    """

    epochs: int = Field(default=50, ge=0, description="passes over the training images; 0: no training")
    batch_size: int = Field(default=256, ge=2, description="images per step")
    learning_rate: float = Field(default=0.001, gt=0, description="length of a step, the first or the largest")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="share of the last step in the next")
    schedule: Literal["exponential", "one-cycle", "constant"] = Field(
        default="exponential",
        description="the learning rate over time: down by a factor each epoch, up and down once, or always the same",
    )
    decay: float = Field(default=0.95, gt=0, le=1, description="of the learning rate per epoch, if exponential")
    augment: bool = Field(default=True, description="mirror and shift images at random")

    @property
    def augmented(self) -> bool:
        """Whether images are mirrored and shifted at random."""
        return self.augment

    def optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """Return SGD with momentum."""
        return torch.optim.SGD(
            parameters,
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            fused=True,
        )

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a step, counted from 0 over all epochs."""
        if self.schedule == "one-cycle":
            return super().learning_rate_at(step, steps_per_epoch)
        falls = step // steps_per_epoch if self.schedule == "exponential" else 0
        return self.learning_rate * float(self.decay**falls)


class Retraining(SgdTraining):
    """What a pruned classifier goes through before it is measured."""

    under_attack: bool | None = Field(
        default=None,
        description="null: as the classifier was trained, adversarially or not; false: never, true: always",
    )
