"""What each stage of a detection study does, and the operations that takes; the arithmetic is in `workload`."""

from __future__ import annotations

import torch

from robustprune.core.operations import Workload, measuring, training
from robustprune.detection.darknet import Detector
from robustprune.inference.cost import size
from robustprune.initializers import INITIALIZERS
from robustprune.studies.detection.settings import DetectionSettings


def stage_work(settings: DetectionSettings) -> dict[str, list[Workload]]:
    """Return the parts of each stage's work, under the keys of `study_settings.stage_inputs`.

    An initializer that does not tell its work has none.

    Raises:
        InputError: the data or the .cfg cannot be read.
    """
    train, val = settings.dataset.splits()
    # On the meta device: shapes without numbers.
    with torch.device("meta"):
        detector = Detector.from_cfg(settings.detector.config, classes=len(train.categories))
    forward = 2.0 * size(detector, image_size=settings.detector.image_size).macs
    attack, images = settings.attack, len(train)
    scoring = {
        name: [method.work(getattr(settings.initializers, name), forward=forward, images=images, attack=attack)]
        for name, method in INITIALIZERS.items()
        if method.work is not None
    }

    def adversarial(kind: str, epochs: int) -> Workload:
        return training(kind, forward=forward, images=images, epochs=epochs, attack=attack)

    if settings.detector.weights is None:
        assert settings.base is not None
        base = training("training", forward=forward, images=images, epochs=settings.base.epochs, attack=None)
    else:
        base = Workload("weights as they are given", 0.0)
    # The detector and its unpruned twin take turns.
    timed = 2 * (settings.evaluation.timing_repeats + settings.evaluation.timing_warm_up)
    measured = measuring(forward=forward, images=len(val), timed=timed, attack=attack)
    return {
        "base": [base],
        "pretrain": [adversarial("adversarial training", settings.pretrain.epochs)],
        **{name: scoring.get(name, []) for name in INITIALIZERS},
        "evaluate_row": [adversarial("fine-tuning", settings.finetune.epochs), measured],
        "baseline": [measured],
    }
