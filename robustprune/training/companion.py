"""What goes along with a training, step by step and epoch by epoch, such as the multipliers of a constraint."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


class Companion:
    """Changes a training at some of these moments; this one at none.

    Attributes:
        tensors: of its own, by name, changed in place: they are saved with the training's and taken up again.
    """

    tensors: Mapping[str, Tensor] = {}

    def weights(self) -> Mapping[str, Tensor]:
        """Return parameters to use in place of the network's own in a step's passes, by name."""
        return {}

    def penalty(self) -> Tensor | None:
        """Return a scalar to add to the loss of a step, if any."""
        return None

    def before_epoch(self, epoch: int) -> None:
        """Take note that an epoch begins, from 1; not where a training goes on within one."""

    def after_backward(self) -> None:
        """Take note that a step's gradients are there, and that the optimizer has not used them yet."""

    def after_step(self) -> None:
        """Take note that a step has changed the network."""

    def after_epoch(self, epoch: int) -> None:
        """Take note that an epoch has ended, before the state after it is saved; the network is in training mode."""

    def stops(self, epoch: int) -> bool:
        """Say, after `after_epoch`, whether the training ends with this epoch."""
        return False
