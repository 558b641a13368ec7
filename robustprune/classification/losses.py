"""Training losses of a classifier, by name.

A loss is a function of logits (N, classes) and labels (N,) that returns the loss of each image, (N,).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from robustprune.plugins import task_registry


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return −log softmax(logits) at the labels, (N,)."""
    return functional.cross_entropy(logits, labels, reduction="none")


LOSSES = task_registry(
    "robustprune.losses", kind="loss", task="classification", bundled={"cross-entropy": cross_entropy}
)
