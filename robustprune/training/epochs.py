"""What a training says of itself to who watches it: the epoch it is in, and the mean loss of that so far."""

from __future__ import annotations

from torch import Tensor

from robustprune.core.progress import Progress, reporter


class Epochs:
    """Tells a `Progress` of every step. The losses are added up where they are, and read only where they are shown:
    a number of a GPU has to be waited for.
    """

    def __init__(self, progress: Progress, *, epochs: int, steps_per_epoch: int, done: int) -> None:
        """Begin.

        Args:
            progress: whom to tell.
            epochs: in all.
            steps_per_epoch: of each.
            done: epochs that were finished before.
        """
        self._report, self._epochs, self._steps_per_epoch = reporter(progress), epochs, steps_per_epoch
        self._epoch, self._steps = done, 0
        self._sum: Tensor | None = None
        self._report(done, epochs)

    def step(self, epoch: int, taken: int, loss: Tensor) -> None:
        """Tell of a step: `taken` of the epoch, which counts from 1, are done, and this was the last one's loss."""
        if epoch != self._epoch:
            self._epoch, self._steps, self._sum = epoch, 0, None
        self._steps += 1
        self._sum = loss.detach().clone() if self._sum is None else self._sum.add_(loss.detach())
        self._report(epoch - 1 + taken / self._steps_per_epoch, self._epochs, loss=self)

    def __float__(self) -> float:
        """Return the mean loss of the epoch, of the steps that this process took of it."""
        return float("nan") if self._sum is None else float(self._sum) / self._steps
