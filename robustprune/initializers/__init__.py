"""Importance scores of weights ("initializers" of the pruning mask), by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from robustprune.initializers.deeplift import DeepLiftSettings, deeplift
from robustprune.initializers.hydra import HydraSettings, hydra
from robustprune.initializers.problem import Problem
from robustprune.settings import Settings


class Initializer(NamedTuple):
    """A scoring method.

    `score(detector, problem, settings)` returns one importance tensor per prunable layer, higher is kept longer.
    `per_ratio` says that scores depend on the structure and the ratio they are for.
    """

    score: Callable[[Any, Problem, Any], dict[str, Tensor]]
    settings: type[Settings]
    per_ratio: bool


INITIALIZERS = {
    "hydra": Initializer(hydra, HydraSettings, per_ratio=True),
    "deeplift": Initializer(deeplift, DeepLiftSettings, per_ratio=False),
}

__all__ = ["INITIALIZERS", "Initializer", "Problem", "deeplift", "hydra"]
