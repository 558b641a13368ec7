"""Prune single weights."""

from torch import Tensor

from robustprune.masks import keep_count, largest


def unstructured(importance: Tensor, ratio: float) -> Tensor:
    """Return the mask that keeps the most important weights of a layer.

    Args:
        importance: (out, in, height, width), one score per weight.
        ratio: fraction of the layer's weights to prune, in [0, 1]; at least one weight stays.
    """
    return largest(importance, keep_count(ratio, importance.numel()))
