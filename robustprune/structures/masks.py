"""Masks of a network: one boolean tensor per prunable layer, `True` where a weight is kept.

Where a filter leaves as such, its bias or its channel of batch norm goes with it: those have masks too, by the
parameter's name (`removal.departing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
    flat = scores.detach().reshape(-1)
    # A stable sort, since topk breaks ties differently on each device.
    chosen = flat.sort(descending=True, stable=True).indices[:count]
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(0, chosen, True).view(scores.shape)


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
