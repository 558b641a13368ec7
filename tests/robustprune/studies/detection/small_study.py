"""A detection study of seconds, and how its results are compared."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from robustprune.studies.detection.study import DetectionStudy

TRAINING = {"epochs": 1, "learning_rate": 0.01, "batch_size": 8}
SPEC: dict[str, Any] = {
    "dataset": {"name": "shapes", "train_images": 16, "val_images": 8, "image_size": 64},
    "detector": {"config": "yolov3-nano", "image_size": 64},
    "attack": {"steps": 1, "step_size": 0.05},
    "base": TRAINING,
    "pretrain": TRAINING,
    "finetune": TRAINING,
    "initializers": {"hydra": {"images": 8}, "deeplift": {"images": 4}},
    "evaluation": {"margin": {"steps": 1}, "timing_repeats": 2, "timing_warm_up": 1},
}
TRIAL = ("structure", "initializer", "colour", "seed")

Arrays = Mapping[str, np.ndarray[Any, Any]]


def study(**changes: Any) -> DetectionStudy:
    return DetectionStudy(DetectionStudy.Settings.model_validate({**SPEC, **changes}))


def cell(**changes: Any) -> dict[str, Any]:
    return {
        "structure": "unstructured",
        "initializer": "hydra",
        "colour": "rgb",
        "seed": 0,
        "ratio": 0.75,
        **changes,
    }


def published(arrays: Arrays) -> Arrays:
    """Return the arrays as workers get them: read-only."""
    copies = {name: array.copy() for name, array in arrays.items()}
    for array in copies.values():
        array.flags.writeable = False
    return copies


def untimed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not depend on the machine's mood."""
    untimed = {
        name: value
        for name, value in row.items()
        if not name.startswith(("inference_ms", "speedup", "timing_")) and not name.endswith("_s") and name != "engine"
    }
    tables = {name: untimed.pop(name) or {} for name in DetectionStudy.tables}
    return {
        **untimed,
        **{f"{table}.{name}": list(column) for table, of_it in tables.items() for name, column in of_it.items()},
    }


def equal(first: Arrays, second: Arrays) -> bool:
    assert list(first) == list(second)
    return all(np.array_equal(first[name], second[name]) for name in first)
