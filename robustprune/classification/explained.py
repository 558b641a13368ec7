"""What DeepLIFT explains of a classifier: the logit of an image's true class."""

from __future__ import annotations

from torch import Tensor


def true_class_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logits of the true classes, before any softmax, (N,).

    Args:
        logits: (N, classes).
        labels: (N,).
    """
    return logits.gather(1, labels[:, None])[:, 0]
