"""Free adversarial training (Shafahi et al. 2019, algorithm 1): one backward pass for the weights and the images.

Every batch is trained on m times. A step's gradient of the images, which comes with that of the weights, moves the
perturbation of the next step; that is carried on from batch to batch, and no step is taken for it alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from pydantic import Field
from torch import Tensor

from robustprune.core.settings import Settings
from robustprune.task import Task

Item = TypeVar("Item")


class FreeSettings(Settings):
    """Trainings take their perturbations from their own steps (Shafahi et al. 2019), within the adversary's radius."""

    replays: int = Field(
        default=4,
        ge=1,
        description="steps on each batch before the next one, so that an epoch takes so many times as many; published "
        "trainings divide their epochs by it",
    )


@dataclass(frozen=True, kw_only=True)
class Free:
    """Free training, with numbers.

    Attributes:
        replays: m, steps on each batch.
        epsilon: radius of the L∞ ball, and length of a perturbation's step, in pixel values.
    """

    replays: int
    epsilon: float

    def replayed(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Yield each batch m times."""
        for batch in batches:
            for _ in range(self.replays):
                yield batch

    def start(self, task: Task, batch_size: int) -> Perturbation:
        """Return the perturbation that a training begins with: none."""
        ((example, _),) = task.batches(1, images=1)
        return Perturbation(example.new_zeros((batch_size, *example.shape[1:])), self.epsilon)


class Perturbation:
    """What a training adds to its images, place by place in a batch, whichever image is there.

    Attributes:
        tensor: (batch size, …), in [−ε, ε], changed in place: it is part of the state of the training.
    """

    def __init__(self, tensor: Tensor, epsilon: float) -> None:
        """Carry on from a perturbation."""
        self.tensor, self._epsilon = tensor, epsilon

    def on(self, images: Tensor) -> Tensor:
        """Return images of a batch, or of the first places of one, with what is added to them, cut at 0 and 1.

        What is backpropagated next from them has to come to `climb`.
        """
        self._added = self.tensor[: len(images)].clone().requires_grad_()
        return (images + self._added).clamp(0, 1)

    @torch.no_grad()
    def climb(self) -> None:
        """Move by ε along the sign of the gradient that was backpropagated, within the ball."""
        assert self._added.grad is not None
        own = self.tensor[: len(self._added)]
        own.add_(self._added.grad.sign(), alpha=self._epsilon).clamp_(-self._epsilon, self._epsilon)
