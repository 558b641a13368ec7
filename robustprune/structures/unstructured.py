"""Prune single weights."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from robustprune.detection.darknet.couplings import Group
from robustprune.structures.masks import Masks, keep_count, largest


def unstructured(importance: Mapping[str, Tensor], ratio: float, groups: Sequence[Group]) -> Masks:
    """Return masks that keep the most important weights of each layer.

    Args:
        importance: per layer (out, in, height, width), one score per weight.
        ratio: fraction of each layer's weights to prune, in [0, 1]; at least one weight stays.
        groups: of no account, since single weights are not coupled.
    """
    return {name: largest(scores, keep_count(ratio, scores.numel())) for name, scores in importance.items()}
