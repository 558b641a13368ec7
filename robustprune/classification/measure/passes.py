"""What an attack costs, counted where it happens, and whether the network answers it in numbers."""

from __future__ import annotations

from torch import Tensor

from robustprune.attacks.adversarial_library.library import Network
from robustprune.core.errors import DivergedError


class Passes:
    """A network that counts the images that go through it, forwards and, as gradients, backwards.

    Attributes:
        forwards: images that went through it.
        backwards: gradients that did.
    """

    def __init__(self, network: Network) -> None:
        """Start counting."""
        self._network = network
        self.forwards = 0
        self.backwards = 0
        self._finite: Tensor | None = None

    def check_finite(self) -> None:
        """Raise DivergedError if any answer so far was NaN or infinite: a search by such is not to be trusted."""
        if self._finite is not None and not bool(self._finite):
            raise DivergedError("the classifier answers NaN or infinity to attacked images")

    def __call__(self, images: Tensor) -> Tensor:
        """Return the network's logits."""
        logits = self._network(images)
        self.forwards += len(images)
        # Kept on the device: to ask at every pass would wait for it every time.
        finite = logits.detach().isfinite().all()
        self._finite = finite if self._finite is None else self._finite & finite
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)
