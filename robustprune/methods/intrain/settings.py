"""The settings of in-train pruning, and the training that it is."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from robustprune.core.settings import Settings
from robustprune.training import Training
from robustprune.training.settings import ChosenOptimizer, Optimizer

PUBLISHED_STRENGTH, PUBLISHED_RATE = 10.0, 0.01
"""b, and the length of a step of the masks."""

Schedule = Literal["one-cycle", "steps", "constant"]


class IntrainSettings(Settings):
    """A training from scratch in the course of which channels learn whether they stay.

    The defaults are as published where a value is, but for the length: 300 epochs there, with `schedule: steps`. Of
    those of one formula, `weight_decay` and `mask_decay` are both 2λ.
    """

    epochs: int = Field(default=30, ge=1, description="passes over the training images")
    batch_size: int = Field(default=64, ge=2, description="images per step")
    optimizer: Optimizer = Field(default="sgd", description="what changes the weights; masks have plain SGD")
    learning_rate: float = Field(default=0.1, gt=0, description="length of a step of the weights, the first or largest")
    schedule: Schedule = Field(
        default="one-cycle",
        description="the weights' learning rate over time: up and down once, a tenth after every `decay_every` epochs, "
        "or always the same",
    )
    decay_every: int = Field(default=80, ge=1, description="epochs until the learning rate falls to a tenth, if steps")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="share of the last step in the next, if sgd")
    weight_decay: float = Field(default=5e-4, ge=0, description="share of each weight in its gradient, an L2 penalty")
    clip_norm: float | None = Field(default=10.0, gt=0, description="norm to which gradients are cut; null: never")
    start_epoch: int | None = Field(
        default=None, ge=0, description="epochs before masks are pulled to the target; null: a fifteenth of all"
    )
    end_epoch: int | None = Field(
        default=None, ge=1, description="epochs after which masks are frozen; null: four fifths of all"
    )
    strength: float | None = Field(
        default=None,
        ge=0,
        description="b: weight of the operations beyond the target in the loss that pulls masks; of an epoch, whose "
        "batches share it where each has a step; null: 10, as published, over the share that is to stay to the "
        "power of 2/3",
    )
    step: Literal["batch", "epoch"] = Field(
        default="batch",
        description="when masks are pulled to the target: a little with every batch, or, as published, once an epoch",
    )
    initial_mask: float = Field(default=1.0, gt=0, description="what every mask starts at")
    threshold: float = Field(default=0.1, gt=0, description="a channel stays while its mask is above it")
    mask_learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="length of a step of the masks; null: 0.01 as published, or more where the pull would take more "
        "than half of its steps to bring an average mask to the threshold",
    )
    mask_decay: float = Field(
        default=5e-4, ge=0, description="share of each mask in its gradient, an L2 penalty, while above the target"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end > self.epochs:
            raise ValueError(f"end_epoch is {self.end}, expected at most epochs, {self.epochs}")
        if self.start >= self.end:
            raise ValueError(f"start_epoch is {self.start}, expected less than end_epoch, {self.end}")
        if self.threshold >= self.initial_mask:
            raise ValueError(
                f"threshold is {self.threshold}, expected less than initial_mask, {self.initial_mask}: all channels "
                "would be gone from the start"
            )
        return self

    def strength_to(self, target: float) -> float:
        """Return b for a share of operations that is to stay.

        Where a share ψ is left, about √ψ of each layer's channels are: so much less are masks pulled, for the channels
        that they go with, and so much more does the task hold on to each. Divided by √ψ, the pull stops short of a
        twentieth in a training of minutes; divided by ψ, it takes at once more than that can recover from.
        """
        return PUBLISHED_STRENGTH / target ** (2 / 3) if self.strength is None else self.strength

    @property
    def start(self) -> int:
        """Epochs before masks are pulled to the target; of 300, 20."""
        return round(self.epochs / 15) if self.start_epoch is None else self.start_epoch

    @property
    def end(self) -> int:
        """Epochs after which masks are frozen; of 300, 240."""
        return max(self.start + 1, round(self.epochs * 0.8)) if self.end_epoch is None else self.end_epoch

    def training(self) -> Training:
        """Return it as the loop takes it."""
        return _Training(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            by=self.optimizer,
            schedule=self.schedule,
            decay_every=self.decay_every,
            momentum=self.momentum,
            clip_norm=self.clip_norm,
        )


class _Training(ChosenOptimizer):
    schedule: Schedule
    decay_every: int
    clip_norm: float | None

    @property
    def largest_gradient(self) -> float | None:
        return self.clip_norm

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        if self.schedule == "one-cycle":
            return super().learning_rate_at(step, steps_per_epoch)
        falls = step // steps_per_epoch // self.decay_every if self.schedule == "steps" else 0
        return self.learning_rate * 0.1**falls
