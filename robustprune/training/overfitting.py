"""Catastrophic overfitting (Wong, Rice & Kolter 2020), watched for: a network that foils the single step it is trained
under, and that several steps fool.

Within an epoch its accuracy under PGD falls to nothing, while that under the single step soars, and gradients beside
an image stop being alike those at the image. After each epoch all three are looked at on its first training images; a
training that has fallen ends with the state before.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from robustprune.attacks import FastAtSettings, PgdSettings, configured, takes_one_step
from robustprune.attacks.uniform_start import uniform_noise
from robustprune.core.randomness import generator_for
from robustprune.core.settings import Settings
from robustprune.task import Batch, Task
from robustprune.training.batch_norm import statistics_of
from robustprune.training.objectives.ascended import TaskLoss
from robustprune.training.objectives.gradient_alignment import cosines
from robustprune.training.settings import Training


class Overfitting(Settings):
    """After each epoch of training under attacks of a single step, PGD on its first images (Wong et al. 2020)."""

    steps: int = Field(default=5, ge=1, description="gradient steps of PGD, from a random start")
    step_size: float = Field(default=0.25, gt=0, le=2, description="length of these, in radii of the training attack")
    drop: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="a training ends, with the state before, where accuracy under PGD fell by more since the last "
        "epoch; of tasks without accuracy, the loss under one step as a share of that under PGD",
    )
    gap: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="and where accuracy under one step is above that under PGD by as much: early in a training both "
        "may fall together, which is no overfitting; 0: the fall alone counts, as published",
    )
    images: int = Field(
        default=128,
        ge=1,
        description="of an epoch that are looked at, in its first batches: of fewer, accuracy falls by chance",
    )
    always: bool = Field(default=False, description="watch training under attacks of several steps too")


class Seen(NamedTuple):
    """What was seen of a training at the end: at the epoch that it overfitted in, or else at the last one.

    Attributes:
        epoch: it overfitted in, from 1; 0 where it did not.
        gap: accuracy under one step minus accuracy under PGD; see `Look`.
        cosine: mean of cos(∇L(x), ∇L(x + η)); NaN where no image had gradients.
    """

    epoch: int
    gap: float
    cosine: float


class Look(NamedTuple):
    """What is seen of a network on some images.

    Attributes:
        standing: how well it withstands PGD: its accuracy; of a task without such, the loss under one step as a share
            of the loss under PGD, 1 where several steps do no more than one.
        gap: accuracy under one step minus `standing`; of a task without such, 1 minus `standing`.
        cosine: see `Seen`.
    """

    standing: float
    gap: float
    cosine: float


def fell(before: float, now: float, *, drop: float) -> bool:
    """Say whether how well a network withstands PGD fell by more than `drop` from one epoch to the next.

    >>> fell(0.45, 0.26, drop=0.2), fell(0.6, 0.39, drop=0.2), fell(float("nan"), 0.1, drop=0.2)
    (False, True, False)
    """
    return before - now > drop + 1e-9


@dataclass(kw_only=True)
class Watch:
    """Looks at one training after each of its epochs; all that it remembers is in `tensors`.

    Attributes:
        settings: how it looks.
        task: the network's.
        adversary: settings of the attack in training.
        seed: its own random numbers come from it and the epoch alone: no training changes because it is watched.
    """

    settings: Overfitting
    task: Task
    adversary: Settings
    seed: int

    def __post_init__(self) -> None:
        """Begin with nothing seen: the epoch it overfitted in, and the last look."""
        self._overfitted = torch.zeros((), dtype=torch.int64)
        self._last = torch.full((len(Look._fields),), torch.nan, dtype=torch.float64)

    @classmethod
    def of(cls, settings: Overfitting | None, *, task: Task, adversary: Settings, seed: int) -> Watch | None:
        """Return the watch of a training under an attack; None where there is nothing to watch for."""
        if settings is None or not (settings.always or takes_one_step(adversary)):
            return None
        return cls(settings=settings, task=task, adversary=adversary, seed=seed)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What belongs to the state of the training."""
        return {"overfitted": self._overfitted, "last": self._last}

    @property
    def has_seen(self) -> bool:
        """Whether the training has overfitted."""
        return bool(self._overfitted)

    @property
    def seen(self) -> Seen:
        """What was seen; not a number before any epoch."""
        _, gap, cosine = self._last.tolist()
        return Seen(int(self._overfitted), gap, cosine)

    def overfitted(self, epoch: int, network: nn.Module, *, began: Tensor, training: Training) -> bool:
        """Look at a network after an epoch, from 1; say whether it overfitted in it.

        Args:
            epoch: that has ended.
            network: in any mode, which it keeps.
            began: the state of the training's generator when the epoch began: it drew the order of the images then.
            training: of which batches are.
        """
        look = self._look(epoch, network, self._first_batches(began, training))
        found = fell(float(self._last[0]), look.standing, drop=self.settings.drop) and look.gap >= self.settings.gap
        self._last.copy_(torch.tensor(look, dtype=self._last.dtype))
        self._overfitted.fill_(epoch if found else 0)
        return found

    def _first_batches(self, began: Tensor, training: Training) -> list[Batch]:
        """Return the first batches of an epoch, as they were trained on, of as many images as are looked at."""
        generator = torch.Generator()
        generator.set_state(began)
        batches = self.task.batches(training.batch_size, generator=generator, augmented=training.augmented)
        return list(itertools.islice(batches, -(-self.settings.images // training.batch_size)))

    def _look(self, epoch: int, network: nn.Module, batches: Sequence[Batch]) -> Look:
        generator = generator_for(self.seed, f"overfitting/{epoch}")
        epsilon = float(self.adversary.epsilon)  # type: ignore[attr-defined]
        one = self.adversary if takes_one_step(self.adversary) else FastAtSettings(epsilon=epsilon)
        length = min(1.0, self.settings.step_size * epsilon)
        many = PgdSettings(epsilon=epsilon, step_size=length, steps=self.settings.steps, random_start=True)
        attacks = [configured(each, generator) for each in (one, many)]
        under = torch.zeros(2, dtype=torch.float64)
        alike: list[Tensor] = []
        for inputs, targets in batches:
            # The network as its attacks in training see it.
            with statistics_of(inputs, network, self.task), self.task.held_still(network, {}) as answer:
                loss = TaskLoss(self.task, answer, targets)
                under += torch.tensor([self._withstood(loss, attack(loss, inputs)) for attack in attacks])
                noise = uniform_noise(inputs, epsilon=epsilon, generator=generator)
                alike.append(cosines(loss, inputs, noise).double())
        cosine = float(torch.cat(alike).mean())
        under_one, under_many = under.tolist()
        if self.task.has_logits:
            images = sum(len(inputs) for inputs, _ in batches)
            return Look(under_many / images, (under_one - under_many) / images, cosine)
        share = under_one / under_many if under_many else 1.0
        return Look(share, 1 - share, cosine)

    @torch.no_grad()
    def _withstood(self, loss: TaskLoss, attacked: Tensor) -> float:
        """Return how many attacked images are answered rightly, or their loss where the task has no such notion."""
        if self.task.has_logits:
            return float((loss.answer(attacked).argmax(dim=1) == loss.targets).sum())
        return float(loss.per_image(attacked).double().sum())
