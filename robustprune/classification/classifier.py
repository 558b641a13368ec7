"""A classifier: a network, and the normalisation that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Normalisation(NamedTuple):
    """What is subtracted from each channel of an image in [0, 1], and what the rest is divided by."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


CIFAR10 = Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NORMALISATIONS = {"cifar10": CIFAR10, "imagenet": IMAGENET, "none": Normalisation((0, 0, 0), (1, 1, 1))}


class Classifier(nn.Module):
    """A network that takes images in [0, 1], so that an attack's distances are in pixel values whatever the network
    was trained on.

    Shape: (N, 3, S, S) in [0, 1] to (N, classes), logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, normalisation: Normalisation, *, classes: Sequence[str]) -> None:
        """Wrap `network`, whose logits are of `classes`, by name."""
        super().__init__()
        self.network = network
        self.classes = tuple(classes)
        self.register_buffer("mean", torch.tensor(normalisation.mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(normalisation.std, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits
