"""What DeepLIFT explains of a classifier: the logit of an image's true class."""

from __future__ import annotations

from torch import Tensor, nn


class TrueClassLogit(nn.Module):
    """F of `methods.deeplift`, for a batch that holds images and their references in turn: (2N, …) to (2N,).

    F is the logit of an image's true class, before any softmax; the same class for an image and its reference.
    """

    def __init__(self, network: nn.Module, labels: Tensor) -> None:
        """Explain `network` at the classes of N images."""
        super().__init__()
        self.network = network
        self.labels = labels

    def forward(self, images: Tensor) -> Tensor:
        """Return one value per image and per reference."""
        logits: Tensor = self.network(images)
        return logits.gather(1, self.labels.repeat(2)[:, None])[:, 0]
