"""Prune whole filters (output channels)."""

from torch import Tensor

from robustprune.masks import keep_count, largest


def structured(importance: Tensor, ratio: float) -> Tensor:
    """Return the mask that keeps the filters of a layer whose weights are the most important on average.

    Args:
        importance: (out, in, height, width), one score per weight.
        ratio: fraction of the layer's filters to prune, in [0, 1]; at least one filter stays.
    """
    filters = largest(importance.mean(dim=(1, 2, 3)), keep_count(ratio, importance.shape[0]))
    return filters.view(-1, 1, 1, 1).expand(importance.shape).clone()
