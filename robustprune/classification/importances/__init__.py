"""What decides on which channels of a classifier stay, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robustprune.classification.importances.deeplift import deeplift
from robustprune.classification.importances.hydra import hydra
from robustprune.classification.importances.magnitude import MagnitudeSettings, magnitude, magnitude_work
from robustprune.classification.importances.problem import Problem
from robustprune.classification.networks.classifier import Classifier
from robustprune.classification.networks.explainable import explainable
from robustprune.classification.pruning import ChannelImportance, from_weights, l1, random
from robustprune.core.arrays import Arrays
from robustprune.core.operations import Workload
from robustprune.core.settings import Settings
from robustprune.methods.contributions import DeepLiftSettings, deeplift_work
from robustprune.methods.optimised_scores import HydraSettings, hydra_work


class Importance(NamedTuple):
    """A way to tell what channels are worth.

    `of_groups(scores, generator)` returns the importance that `pruning.prune` takes. Where it needs scores of weights,
    `score(classifier, problem, settings)` returns them: one tensor per prunable layer in the shape of its weights,
    higher is kept longer. `per_sparsity` says that they depend on the scope and the sparsity they are for,
    `sees_images` on images, and `attacks` that these are attacked where the classifier was trained under attack.
    `check(classifier)` raises InputError for one that cannot be scored, before anything runs.
    `work(settings, forward=…, images=…, attack=…)`, with arguments as in `workload.training`, tells what scoring takes.
    """

    of_groups: Callable[[Arrays | None, torch.Generator], ChannelImportance]
    score: Callable[[Any, Problem, Any], dict[str, Tensor]] | None = None
    settings: type[Settings] | None = None
    per_sparsity: bool = False
    sees_images: bool = False
    attacks: bool = False
    check: Callable[[Classifier], object] | None = None
    work: Callable[..., Workload] | None = None


def _by_scores(scores: Arrays | None, _: torch.Generator) -> ChannelImportance:
    assert scores is not None
    return from_weights({name: torch.tensor(array) for name, array in scores.items()})


IMPORTANCES = {
    "l1": Importance(lambda *_: l1),
    "random": Importance(lambda _, generator: random(generator)),
    "magnitude": Importance(_by_scores, magnitude, MagnitudeSettings, work=magnitude_work),
    "hydra": Importance(
        _by_scores, hydra, HydraSettings, per_sparsity=True, sees_images=True, attacks=True, work=hydra_work
    ),
    "deeplift": Importance(
        _by_scores, deeplift, DeepLiftSettings, sees_images=True, check=explainable, work=deeplift_work
    ),
}

__all__ = ["IMPORTANCES", "Importance", "Problem", "deeplift", "hydra", "magnitude"]
