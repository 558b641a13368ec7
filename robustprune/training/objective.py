"""What training lowers: a task's loss on clean images, or an objective of the same images clean and under attack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustprune.attacks import Attack
from robustprune.task import Task
from robustprune.training.batch_norm import batch_statistics, statistics_of
from robustprune.training.convolutions import FastConvolutions
from robustprune.training.objectives.ascended import OwnLosses, TaskLoss
from robustprune.training.objectives.attacked import ATTACKED
from robustprune.training.objectives.clean_and_attacked import CLEAN_AND_ATTACKED
from robustprune.training.objectives.entry import Form
from robustprune.training.objectives.free import Free
from robustprune.training.objectives.gradient_alignment import Alignment


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What a batch's loss is made of.

    Attributes:
        task: whose loss it is.
        attack: on the images; None: the loss is that of clean ones.
        clean_too: clean images take part beside the attacked ones.
        form: how these go together, which agrees with `clean_too`; None: by their losses, added.
        alignment: a term that is added under attack, if any.
        free: trainings take their perturbations from their own steps, and not from the attack; all else does from that.
    """

    task: Task
    attack: Attack | None = None
    clean_too: bool = False
    form: Form | None = None
    alignment: Alignment | None = None
    free: Free | None = None

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return how many steps of a training see every image once, or as often as batches are replayed."""
        return self.task.steps(self.task.images, batch_size) * (1 if self.free is None else self.free.replays)

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
            with FastConvolutions():
                outputs = task.outputs(network, inputs, weights)
            return task.loss(outputs, targets)
        return self.of_attacked(network, inputs, self.attacked(network, inputs, targets, weights), targets, weights)

    def of_attacked(
        self, network: nn.Module, inputs: Tensor, found: Tensor, targets: Any, weights: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the scalar objective of a batch of which the attack has `found` those images; for others see above."""
        task = self.task
        # Before the pass that is trained on, which does not let batch norm's statistics be touched after it.
        term = None if self.alignment is None else self._misaligned(self.alignment, network, inputs, targets, weights)
        with FastConvolutions():
            # One forward for both halves: batch norm sees the mixture it will be asked to serve.
            outputs = task.outputs(network, torch.cat([inputs, found]) if self.clean_too else found, weights)
        clean, attacked = task.halves(outputs) if self.clean_too else (None, outputs)
        loss = self._form.loss(task, clean, attacked, targets)
        return loss if term is None else loss + term

    def attacked(
        self, network: nn.Module, inputs: Tensor, targets: Any, weights: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return `inputs` under the attack on the task's own loss, or on what the form raises; the network is held
        still.

        Of a network in training the attack sees the statistics of the batch, with which its loss is taken, in place of
        batch norm's running ones; see `training.batch_norm`.
        """
        assert self.attack is not None
        constant = {name: weight.detach() for name, weight in (weights or {}).items()}
        seen = statistics_of(inputs, network, self.task, constant) if network.training else nullcontext()
        with FastConvolutions(), seen, self.task.held_still(network, constant) as answer:
            if self._form.ascended is None:
                return self.attack(TaskLoss(self.task, answer, targets), inputs)
            with torch.no_grad():
                clean = answer(inputs)

            def losses(attacked: Any) -> Tensor:
                assert self._form.ascended is not None
                return self._form.ascended(self.task, clean, attacked, targets)

            return self.attack(OwnLosses(losses, answer), inputs)

    @property
    def _form(self) -> Form:
        return self.form or Form((CLEAN_AND_ATTACKED if self.clean_too else ATTACKED).loss)

    def _misaligned(
        self,
        alignment: Alignment,
        network: nn.Module,
        inputs: Tensor,
        targets: Any,
        weights: Mapping[str, Tensor],
    ) -> Tensor:
        """Return the term of alignment: of the network that an attack sees, but with gradients of its weights."""
        tensors = dict(weights)
        if network.training:
            # In memory of their own: the running ones move on before anybody goes back through the term.
            tensors |= batch_statistics(inputs, network, self.task, weights)

        def loss(images: Tensor) -> Tensor:
            return self.task.attack_loss(self.task.outputs(network, images, tensors), targets)

        with _in_eval_mode(network):
            return alignment(loss, inputs)


@contextmanager
def _in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Let every layer be in eval mode meanwhile."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
