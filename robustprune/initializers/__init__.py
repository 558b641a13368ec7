"""Importance scores of weights ("initializers" of the pruning mask), by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from robustprune.core.operations import Workload
from robustprune.core.settings import Settings
from robustprune.initializers.deeplift import deeplift
from robustprune.initializers.hydra import hydra
from robustprune.initializers.problem import Problem
from robustprune.methods.contributions import DeepLiftSettings, deeplift_work
from robustprune.methods.optimised_scores import HydraSettings, hydra_work


class Initializer(NamedTuple):
    """A scoring method.

    `score(detector, problem, settings)` returns one importance tensor per prunable layer, higher is kept longer.
    `per_ratio` says that scores depend on the structure and the ratio they are for. `work(settings, forward=…,
    images=…, attack=…)`, with arguments as in `workload.training`, tells what scoring takes, where that is known.
    """

    score: Callable[[Any, Problem, Any], dict[str, Tensor]]
    settings: type[Settings]
    per_ratio: bool
    work: Callable[..., Workload] | None = None


INITIALIZERS = {
    "hydra": Initializer(hydra, HydraSettings, per_ratio=True, work=hydra_work),
    "deeplift": Initializer(deeplift, DeepLiftSettings, per_ratio=False, work=deeplift_work),
}

__all__ = ["INITIALIZERS", "Initializer", "Problem", "deeplift", "hydra"]
