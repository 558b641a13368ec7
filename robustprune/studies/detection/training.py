"""The settings of a detector's training: Adam, as in the reference study."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from robustprune.training import Training


class AdamTraining(Training):
    """Adam over shuffled, mirrored batches."""

    batch_size: int = Field(default=16, ge=1, description="images per step")
    schedule: Literal["constant", "one-cycle"] = Field(
        default="one-cycle", description="the learning rate over time: always the same, or up and down once"
    )
    clip_norm: float | None = Field(default=10.0, gt=0, description="norm to which gradients are cut; null: never")
    flip: bool = Field(
        default=True, description="change images at random: mirror them, and as `augmentation` says, where it says so"
    )

    @property
    def augmented(self) -> bool:
        """Whether images are changed at random."""
        return self.flip

    @property
    def largest_gradient(self) -> float | None:
        """The norm to which gradients are cut, if any."""
        return self.clip_norm

    def optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """Return Adam, whose weight decay is part of the gradient."""
        return torch.optim.Adam(parameters, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a step, counted from 0 over all epochs."""
        return self.learning_rate if self.schedule == "constant" else super().learning_rate_at(step, steps_per_epoch)
