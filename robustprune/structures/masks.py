"""Masks of a network: one boolean tensor per prunable layer, `True` where a weight is kept.

Where a filter leaves as such, its bias or its channel of batch norm goes with it: those have masks too, by the
parameter's name (`removal.departing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

Masks = dict[str, Tensor]


def keep_count(ratio: float, total: int) -> int:
    """Return how many of `total` to keep when `ratio` of them are pruned: round((1 − ratio) · total), at least one.

    >>> keep_count(0.75, 8), keep_count(0.99, 8)
    (2, 1)
    """
    return max(1, round((1 - ratio) * total))


def largest(scores: Tensor, count: int) -> Tensor:
    """Return a boolean tensor that marks the `count` largest scores; among equal ones the first by index.

    Args:
        scores: any shape and memory format.

    Raises:
        ValueError: a score is NaN.

    >>> largest(torch.tensor([[1.0, 3.0], [3.0, 2.0]]), 1).tolist()
    [[False, True], [False, False]]
    """
    refuse_nan(scores)
    scores = scores.detach()
    least = _at_rank(scores, count)
    chosen = scores >= least
    surplus = int(chosen.count_nonzero()) - count
    if surplus:
        equal = (scores == least).reshape(-1).nonzero().flatten()
        chosen = chosen.contiguous()
        chosen.view(-1)[equal[-surplus:]] = False
    return chosen


def _at_rank(scores: Tensor, rank: int) -> Tensor:
    """Return the score, a scalar, that comes at a rank from 1 when the largest comes first."""
    if scores.device.type == "cpu" and scores.dtype in (torch.float32, torch.float64):
        # By NumPy, in vector instructions and in any memory format: 70 times as fast as a sort, which a step of hydra
        # cannot afford.
        values = scores.numpy().ravel(order="K")
        place = len(values) - rank
        return scores.new_tensor(np.partition(values, place)[place])
    return scores.reshape(-1).sort(descending=True).values[rank - 1]


def refuse_nan(scores: Tensor) -> None:
    """See that scores can be ranked.

    Raises:
        ValueError: one is NaN.
    """
    if scores.isnan().any():
        raise ValueError(f"{int(scores.isnan().sum())} of {scores.numel()} importance scores are NaN")


@torch.no_grad()
def apply(masks: Mapping[str, Tensor], network: nn.Module) -> None:
    """Set what is pruned to exactly zero; what is kept keeps every bit.

    Args:
        masks: of a layer's weights, by the layer's name; or of any parameter, by its own.
        network: changed in place.
    """
    for parameter, mask in _masked(masks, network):
        parameter.masked_fill_(~mask, 0.0)


@torch.no_grad()
def apply_to_gradients(masks: Mapping[str, Tensor], network: nn.Module) -> None:
    """Set the gradients of what is pruned to exactly zero; arguments are those of `apply`.

    They say nothing of the network that is trained, and can be huge: batch norm blows up those of an empty filter.
    """
    for parameter, mask in _masked(masks, network):
        if parameter.grad is not None:
            parameter.grad.masked_fill_(~mask, 0.0)


def _masked(masks: Mapping[str, Tensor], network: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    modules, parameters = dict(network.named_modules()), dict(network.named_parameters())
    for name, mask in masks.items():
        found = parameters[name] if name in parameters else modules[name].weight
        assert isinstance(found, Tensor)
        yield found, mask
