"""How often an attack by the sign of a gradient had none to go by."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from robustprune.attacks.by_name import Attack
from robustprune.attacks.loss import AttackLoss


class ZeroGradients:
    """Counts, in every step of the attacks it watches, the pixels whose gradient is exactly zero.

    An attack leaves such pixels alone. About 1% are normal with max-pools; many more mean that the attack is weaker
    than its settings say, and the network less robust than it looks (Athalye et al. 2018).

    Attributes:
        pixels: gradients counted, of one value of one image in one step each.
    """

    def __init__(self) -> None:
        """Start counting."""
        self._zeros: Tensor | int = 0
        self.pixels = 0

    @property
    def share(self) -> float:
        """Zero gradients among all, in [0, 1]; 0 before any."""
        return float(self._zeros) / max(1, self.pixels)

    def watch(self, attack: Attack) -> Attack:
        """Return `attack` itself, watched."""
        return lambda loss, images: attack(_Watched(loss, self), images)

    def watch_network(self, network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Return a network whose answers are the same, and of which an attack's gradients are counted."""

        def watched(images: Tensor) -> Tensor:
            if images.requires_grad:
                images.register_hook(self.count)
            return network(images)

        return watched

    def count(self, gradient: Tensor) -> None:
        """Add one gradient."""
        self._zeros = self._zeros + (gradient == 0).sum()
        self.pixels += gradient.numel()


class _Watched:
    def __init__(self, loss: AttackLoss, counter: ZeroGradients) -> None:
        self._loss = loss
        self._counter = counter

    def __call__(self, images: Tensor) -> Tensor:
        if images.requires_grad:
            images.register_hook(self._counter.count)
        return self._loss(images)

    def per_image(self, images: Tensor) -> Tensor:
        return self._loss.per_image(images)
