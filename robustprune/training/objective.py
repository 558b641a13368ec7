"""What training lowers: a task's loss on clean images, on the same images under attack, or on both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustprune.attacks import Attack
from robustprune.task import Task
from robustprune.training.batch_norm import statistics_of


@dataclass(frozen=True, kw_only=True)
class Objective:
    """loss(clean) where `attack` is None; else loss(attacked) (Madry et al. 2018), plus loss(clean) if `clean_too`."""

    task: Task
    attack: Attack | None = None
    clean_too: bool = False

    def __call__(
        self, network: nn.Module, inputs: Tensor, targets: Any, weights: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return the scalar objective of a batch.

        Args:
            network: in the mode to train in; see `attacked` for what the attack sees of it.
            inputs: (N, …), images in [0, 1] where there is an attack.
            targets: as the task's batches have them.
            weights: parameters to use in place of the network's own, by name.
        """
        task, weights = self.task, weights or {}
        if self.attack is None:
            return task.loss(task.outputs(network, inputs, weights), targets)
        attacked = self.attacked(network, inputs, targets, weights)
        if not self.clean_too:
            return task.loss(task.outputs(network, attacked, weights), targets)
        # One forward for both halves: batch norm sees the mixture it will be asked to serve.
        clean, adversarial = task.halves(task.outputs(network, torch.cat([inputs, attacked]), weights))
        return task.loss(clean, targets) + task.loss(adversarial, targets)

    def attacked(
        self, network: nn.Module, inputs: Tensor, targets: Any, weights: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return `inputs` under the attack on the task's own loss, the network being held still.

        Of a network in training the attack sees the statistics of the batch, with which its loss is taken, in place of
        batch norm's running ones; see `training.batch_norm`.
        """
        assert self.attack is not None
        constant = {name: weight.detach() for name, weight in (weights or {}).items()}
        seen = statistics_of(inputs, network, self.task, constant) if network.training else nullcontext()
        with seen, self.task.held_still(network, constant) as answer:
            return self.attack(_Ascended(self.task, answer, targets), inputs)


@dataclass(frozen=True)
class _Ascended:
    """The loss of one batch as a function of its images; see `attacks.AttackLoss`."""

    task: Task
    answer: Callable[[Tensor], Any]
    targets: Any

    def __call__(self, images: Tensor) -> Tensor:
        return self.task.attack_loss(self.answer(images), self.targets)

    @torch.no_grad()
    def per_image(self, images: Tensor) -> Tensor:
        return self.task.losses(self.answer(images), self.targets)
