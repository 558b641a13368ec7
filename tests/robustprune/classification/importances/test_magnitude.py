"""Magnitudes, and how all importances are reached by name."""

import numpy as np
import torch

from robustprune.classification.importances import IMPORTANCES, Problem, magnitude
from robustprune.classification.importances.magnitude import MagnitudeSettings
from robustprune.classification.objective import Objective
from robustprune.classification.pruning import channel_groups, prune
from robustprune.core.arrays import to_arrays
from tests.robustprune.classification.pruning.networks import SIZE, classifier
from tests.robustprune.classification.small import bright_or_dark


def problem() -> Problem:
    return Problem(images=bright_or_dark(4, size=SIZE), objective=Objective(), generator=torch.Generator())


def test_magnitudes_are_those_of_all_layers_that_can_be_pruned() -> None:
    network = classifier([("projected", 1), ("depthwise", 2)], hidden=5).requires_grad_(False)
    scores = magnitude(network, problem(), MagnitudeSettings())
    assert list(scores) == [
        f"network.{name}" for name in ("0.0", "1.inner.0", "1.inner.3", "1.outer.0", "2.0", "2.3", "5")
    ]
    for name, found in scores.items():
        assert torch.equal(found, network.get_submodule(name).weight.abs())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_stored_scores_decide_on_groups() -> None:
    network = classifier([("projected", 1)])
    arrays = to_arrays(magnitude(network, problem(), MagnitudeSettings()))
    for array in arrays.values():
        array.flags.writeable = False
    importance = IMPORTANCES["magnitude"].of_groups(arrays, torch.Generator())
    counts = prune(network, sparsity=0.5, scope="layer", importance=importance, image_size=SIZE)
    assert counts.channels_kept < counts.channels_total


def test_importances_without_scores_need_none() -> None:
    groups = channel_groups(classifier([("plain", 0)]), image_size=SIZE)
    for name in ("l1", "random"):
        method = IMPORTANCES[name]
        assert method.score is None
        assert method.settings is None
        first, again = (method.of_groups(None, torch.Generator().manual_seed(0))(groups) for _ in range(2))
        assert all(map(torch.equal, first, again))
        assert np.all([values.min() >= 0 for values in first])
