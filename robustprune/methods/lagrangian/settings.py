"""The settings that ADMM and SLR share, and the training that they amount to."""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from pydantic import Field, model_validator

from robustprune.core.settings import Settings
from robustprune.training import Training
from robustprune.training.settings import ChosenOptimizer, Optimizer

Schedule = Literal["constant", "one-cycle"]


class LagrangianSettings(Settings):
    """A training in the course of which weights are drawn to what pruning would leave of them."""

    epochs: int = Field(default=10, ge=0, description="passes over the training images; 0: weights stay as they are")
    batch_size: int = Field(default=64, ge=2, description="images per step")
    optimizer: Optimizer = Field(default="sgd", description="what changes the weights")
    learning_rate: float = Field(default=0.02, gt=0, description="length of a step; the largest, if one-cycle")
    schedule: Schedule = Field(
        default="one-cycle", description="the learning rate over time: always the same, or up and down once"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="share of the last step in the next, if sgd")
    weight_decay: float = Field(default=5e-4, ge=0, description="share of each weight in its gradient, an L2 penalty")
    attacked: bool | None = Field(
        default=None, description="whether images are attacked; null: as in the training of the checkpoint"
    )
    rho: float = Field(default=1.0, gt=0, description="strength of the pull to what pruning would leave")
    every_epochs: int = Field(default=1, ge=1, description="epochs from one update of the multipliers to the next")
    condition_images: int = Field(
        default=128, ge=1, description="training images, the first ones, on which the conditions of updates are taken"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.epochs and self.every_epochs > self.epochs:
            raise ValueError(
                f"every_epochs is {self.every_epochs}, expected at most epochs, {self.epochs}: multipliers would never "
                "be updated"
            )
        most = math.log(torch.finfo(torch.float32).max)
        if math.log(self.rho) + self.log_growth > most:
            raise ValueError(
                f"rho is {self.rho:g}, expected no more, with all that it grows, than weights can be multiplied with, "
                f"{math.exp(most):.1e}"
            )
        return self

    @property
    def log_growth(self) -> float:
        """The logarithm of what rho is multiplied with over the whole training."""
        return 0.0

    def training(self) -> Training:
        """Return it as the loop takes it."""
        return _Training(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            by=self.optimizer,
            schedule=self.schedule,
            momentum=self.momentum,
        )


class _Training(ChosenOptimizer):
    schedule: Schedule

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        return self.learning_rate if self.schedule == "constant" else super().learning_rate_at(step, steps_per_epoch)
