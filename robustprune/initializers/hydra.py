"""HYDRA (Sehwag et al. 2020) on a detector; how scores are optimised is told in `importance.optimised_scores`."""

from __future__ import annotations

import copy
import math
from functools import partial

from torch import Tensor

from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.couplings import couplings
from robustprune.detection.training import batches
from robustprune.initializers.problem import Problem
from robustprune.methods.optimised_scores import HydraSettings, optimised_scores


def hydra(detector: Detector, problem: Problem, settings: HydraSettings) -> dict[str, Tensor]:
    """Return importance |s| per prunable layer, of the shape of its weights, for one structure and ratio.

    Raises:
        DivergedError: the robust loss became NaN or infinite.
    """
    detector = copy.deepcopy(detector).requires_grad_(False).train()
    layers = problem.layers(detector)
    groups = couplings(detector, layers)
    images = min(settings.images or len(problem.samples), len(problem.samples))
    return optimised_scores(
        detector,
        layers,
        settings=settings,
        steps_per_epoch=math.ceil(images / settings.batch_size),
        batches=partial(
            batches,
            problem.samples,
            batch_size=settings.batch_size,
            flip=True,
            generator=problem.generator,
            device=next(detector.parameters()).device,
            count=images,
        ),
        masks=lambda importance: problem.masks(importance, groups),
        loss=partial(problem.objective, detector),
        generator=problem.generator,
        progress=problem.progress,
    )
