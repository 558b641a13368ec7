"""A classification study that runs in a moment."""

from typing import Any

from robustprune.studies.classification.study import ClassificationStudy

TRAINING = {"epochs": 1, "learning_rate": 0.05, "batch_size": 16, "schedule": "one-cycle"}
SPEC: dict[str, Any] = {
    "dataset": {"name": "emblems", "train_images": 36, "test_images": 12, "image_size": 16},
    "pretrain": TRAINING,
    "adversary": {"steps": 1, "random_start": True},
    "retrain": TRAINING,
    "importances": {"hydra": {"images": 12}, "deeplift": {"images": 6}},
    "evaluation": {
        "attack": {"name": "fgsm"},
        "distances": [{"name": "ddn", "steps": 4}, {"name": "fmn", "norm": "linf", "steps": 5}],
        "images": 8,
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
        "importance": "l1",
        "scope": "layer",
        "seed": 0,
        "sparsity": 0.5,
        **changes,
    }
