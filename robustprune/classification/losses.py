"""Losses of a classifier: those to train by, by name, and what attacks ascend beside them.

A loss is a function of logits (N, classes) and labels (N,) that returns the loss of each image, (N,).
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from robustprune.plugins import task_registry


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return −log softmax(logits) at the labels, (N,)."""
    return functional.cross_entropy(logits, labels, reduction="none")


def difference_of_logits_ratio(logits: Tensor, labels: Tensor) -> Tensor:
    """Return (z_o − z_y) / (z_1 − z_3), (N,): y is the label, o the likeliest other, z_1 ≥ z_2 ≥ z_3 the logits sorted.

    From Croce & Hein 2020, for attacks to ascend: multiplying all logits by a number does not change it, so that large
    ones do not hide its gradient. It needs three classes, and is no loss to train by.
    """
    three = logits.topk(3, dim=1).values
    true = functional.one_hot(labels, logits.shape[1]).bool()
    others = logits.masked_fill(true, -math.inf).amax(dim=1)
    # The tiny term, as in AutoAttack, is for logits that are all the same.
    return (others - logits[true]) / (three[:, 0] - three[:, 2] + 1e-12)


LOSSES = task_registry(
    "robustprune.losses", kind="loss", task="classification", bundled={"cross-entropy": cross_entropy}
)
