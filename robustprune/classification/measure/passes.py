"""What an attack costs, counted where it happens."""

from __future__ import annotations

from torch import Tensor

from robustprune.attacks.adversarial_library.library import Network


class Passes:
    """A network that counts the images that go through it, forwards and, as gradients, backwards."""

    def __init__(self, network: Network) -> None:
        """Start counting."""
        self._network = network
        self.forwards = 0
        self.backwards = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Return the network's logits."""
        logits = self._network(images)
        self.forwards += len(images)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)
