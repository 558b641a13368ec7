"""A classification study that runs in a moment."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from robustprune.studies.classification.study import ClassificationStudy

Arrays = Mapping[str, np.ndarray[Any, Any]]

TRAINING = {"epochs": 1, "learning_rate": 0.05, "batch_size": 16, "schedule": "one-cycle"}
SPEC: dict[str, Any] = {
    "dataset": {"name": "emblems", "train_images": 36, "test_images": 12, "image_size": 16},
    "normalisation": "cifar10",
    "pretrain": TRAINING,
    "adversary": {"steps": 1, "random_start": True},
    "retrain": TRAINING,
    "initializers": {
        "hydra": {"images": 12},
        "deeplift": {"images": 6},
        "taylor": {"images": 12},
        "snip": {"images": 12},
    },
    "evaluation": {
        "attack": {"name": "fgsm"},
        "distances": [{"name": "ddn", "steps": 4}, {"name": "fmn", "norm": "linf", "steps": 5}],
        "images": 8,
        "blind_queries": 20,
        "timing_repeats": 2,
        "timing_warm_up": 1,
    },
}


def study(**changes: Any) -> ClassificationStudy:
    return ClassificationStudy(ClassificationStudy.Settings.model_validate({**SPEC, **changes}))


def cell(**changes: Any) -> dict[str, Any]:
    return {
        "model": "resnet8",
        "training": "standard",
        "structure": "channels",
        "initializer": "magnitude",
        "scope": "layer",
        "seed": 0,
        "ratio": 0.5,
        **changes,
    }


def published(arrays: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays as workers get them: read-only."""
    copies = {name: array.copy() for name, array in arrays.items()}
    for array in copies.values():
        array.flags.writeable = False
    return copies


def row_of(own: ClassificationStudy, of: dict[str, Any], checkpoint: Arrays) -> dict[str, Any]:
    """Return a row of scores of its own."""
    scores = published(own.score(of, checkpoint)) if own.stage("score", of) else None
    return own.evaluate_row(of, checkpoint, scores)
