"""ADMM and SLR on detectors: the same training, of which no accuracy is told."""

from functools import partial
from typing import Any

import pytest
import torch

from robustprune.attacks import pgd
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples
from robustprune.methods import INITIALIZERS, Problem
from tests.robustprune.detection.tasks import task_of, under

robust = partial(under, partial(pgd, epsilon=0.05, step_size=0.05, steps=1))


@pytest.mark.parametrize(("name", "structure"), [("admm", "unstructured"), ("slr", "structured")])
def test_detectors_are_drawn_to_what_pruning_would_leave(
    name: str, structure: str, trained: Detector, samples: Samples
) -> None:
    problem = Problem(
        task=task_of(trained, samples),
        objective=robust(trained, samples),
        generator=torch.Generator().manual_seed(0),
        structure=structure,
        ratio=0.5,
        comparable=True,
    )
    method = INITIALIZERS[name]
    steps: dict[str, Any] = {"learning_rate": 0.1, "momentum": 0.0, "schedule": "constant"}
    settings = method.settings(**{"epochs": 3, "batch_size": 3, "rho": 3.0, **steps})
    found = method.outcome(trained, problem, settings)
    assert list(found.tables) == ["multipliers"]
    gaps = found.tables["multipliers"]["gap"]
    assert gaps[-1] < 0.6 * gaps[0]
    assert found.state.keys() == trained.state_dict().keys()
