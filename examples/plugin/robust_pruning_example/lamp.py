"""LAMP (Lee et al. 2021): magnitudes that can be compared between layers. An initializer in a few lines."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustprune.methods import InitializerEntry, NoSettings, Problem


def lamp(network: nn.Module, problem: Problem, settings: NoSettings) -> dict[str, Tensor]:
    """Return w² / Σ v² over all weights v of the layer that are no smaller than w."""
    return {name: _lamp(layer.weight.detach()) for name, layer in problem.layers(network).items()}


def _lamp(weight: Tensor) -> Tensor:
    squares, order = weight.flatten().square().sort(descending=True, stable=True)
    return torch.empty_like(squares).scatter_(0, order, squares / squares.cumsum(0)).view(weight.shape)


LAMP = InitializerEntry(score=lamp, comparable=True, sees_images=False, attacks=False)
