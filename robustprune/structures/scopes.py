"""What competes for staying: the parts of one layer with each other, or those of all layers. Nothing is pruned here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from robustprune.structures.masks import keep_count, largest

Scope = Callable[[Sequence[Tensor], float], list[Tensor]]
"""From the scores of each layer (or group of layers), of any shape, and the ratio to prune, to what stays of each:
boolean, of the same shapes.
"""


def within_layers(scores: Sequence[Tensor], ratio: float) -> list[Tensor]:
    """Return what stays of every layer, each of which loses the same fraction; one part of it stays.

    Args:
        scores: of every layer.
        ratio: fraction of each layer's parts to prune, in [0, 1].

    Raises:
        ValueError: a score is NaN.
    """
    return [largest(each, keep_count(ratio, each.numel())) for each in scores]


def across_layers(scores: Sequence[Tensor], ratio: float) -> list[Tensor]:
    """Return what stays of every layer where all compete in one ranking, by scores that are of one unit.

    Each layer's best ranks before all others, and stays.

    >>> [kept.tolist() for kept in across_layers([torch.tensor([9.0, 8.0]), torch.tensor([2.0, 1.0])], 0.25)]
    [[True, True], [True, False]]

    Args:
        scores: of every layer.
        ratio: fraction of all parts to prune, in [0, 1]; less goes only where one part of each layer is left.

    Raises:
        ValueError: a score is NaN.
    """
    kept = max(keep_count(ratio, sum(each.numel() for each in scores)), len(scores))
    ranked = torch.cat([_best_first(each.double().flatten()) for each in scores])
    chosen = largest(ranked, kept).split([each.numel() for each in scores])
    return [part.view(each.shape) for part, each in zip(chosen, scores, strict=True)]


def across_unlike_layers(scores: Sequence[Tensor], ratio: float) -> list[Tensor]:
    """Return what stays as `across_layers` does, of scores whose unit differs from layer to layer.

    A part is worth its score over the mean magnitude of its layer's.
    """
    return across_layers([_relative(each.double()) for each in scores], ratio)


SCOPES = ("layer", "global")
"""The same ratio in every layer; or one ranking over all layers."""


def scope_of(name: str, *, comparable: bool) -> Scope:
    """Return the scope of that name for scores that are `comparable` between layers, or are not."""
    found: Mapping[str, Scope] = {
        "layer": within_layers,
        "global": across_layers if comparable else across_unlike_layers,
    }
    return found[name]


def _relative(exact: Tensor) -> Tensor:
    mean = exact.abs().mean().clamp(min=torch.finfo(exact.dtype).tiny)  # of a layer of zeros, zeros
    return exact if mean.isnan() else exact / mean  # so that it can be said how many scores are NaN


def _best_first(exact: Tensor) -> Tensor:
    return exact.masked_fill(largest(exact, 1), torch.inf)
