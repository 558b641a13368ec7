"""The magnitude of weights (Han et al. 2015)."""

from __future__ import annotations

import copy

from torch import Tensor

from robustprune.classification.importances.problem import Problem
from robustprune.classification.networks.classifier import Classifier
from robustprune.classification.pruning import channel_groups, prunable_layers
from robustprune.core.operations import Workload
from robustprune.core.settings import Settings


class MagnitudeSettings(Settings):
    """Nothing to set."""


def magnitude(classifier: Classifier, problem: Problem, settings: MagnitudeSettings) -> dict[str, Tensor]:
    """Return |W| per prunable layer."""
    classifier = copy.deepcopy(classifier)
    layers = prunable_layers(classifier, channel_groups(classifier, image_size=problem.image_size))
    return {name: layer.weight.detach().abs() for name, layer in layers.items()}


def magnitude_work(settings: MagnitudeSettings, **_: object) -> Workload:
    """Return the work of `magnitude`: there is nothing to compute."""
    return Workload("magnitude's scores", 0.0)
