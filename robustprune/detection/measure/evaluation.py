"""Measure a detector: detections and their precision on clean and on attacked images, in one pass over the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from robustprune.core.timing import TimingSettings
from robustprune.detection.data.letterbox import Letterbox
from robustprune.detection.data.samples import Samples
from robustprune.detection.detector import AnchorDetector
from robustprune.detection.losses.assignment import assign
from robustprune.detection.measure.average_precision import AveragePrecision, Detections, average_precision
from robustprune.detection.measure.detections import detect
from robustprune.training import Objective


class Evaluation(TimingSettings):
    """How detections are drawn from raw outputs, and how often inference is timed."""

    batch_size: int = Field(default=32, ge=1)
    confidence: float = Field(default=0.005, ge=0, lt=1)
    nms_iou: float = Field(default=0.45, gt=0, le=1)


class Measured(NamedTuple):
    """Average precision on the same images, untouched and under attack, and the detections that it is of.

    Attributes:
        clean: On the untouched images.
        attacked: None where there was no attack.
        clean_detections: Image by image, in their order.
        attacked_detections: Likewise; empty where there was no attack.
    """

    clean: AveragePrecision
    attacked: AveragePrecision | None
    clean_detections: list[Detections]
    attacked_detections: list[Detections]


def evaluate(
    detector: AnchorDetector,
    samples: Samples,
    *,
    objective: Objective,
    settings: Evaluation,
    tell: Callable[[int], object] = lambda images: None,
) -> Measured:
    """Measure `detector` on all of `samples`, and under the objective's attack if it has one.

    Each image is read once. `tell` is called after each batch with the number of images evaluated so far.
    """
    detector.eval()
    device = next(detector.parameters()).device
    clean: list[Detections] = []
    attacked: list[Detections] = []
    for batch in samples.stream(indices.tolist() for indices in torch.arange(len(samples)).split(settings.batch_size)):
        images = batch.images.to(device, memory_format=torch.channels_last)
        targets = batch.targets.to(device)

        def found(pixels: Tensor, ids: tuple[int, ...], boxes: tuple[Letterbox, ...]) -> list[Detections]:
            results = detect(detector, pixels, confidence=settings.confidence, nms_iou=settings.nms_iou)
            return [
                Detections(
                    image_id,
                    letterbox.to_image(squares).cpu(),
                    scores.cpu(),
                    classes.cpu(),
                )
                for image_id, letterbox, (squares, scores, classes) in zip(ids, boxes, results, strict=True)
            ]

        clean += found(images, batch.image_ids, batch.letterboxes)
        if objective.attack is not None:
            assignments = assign(targets, detector.heads, images.shape[-1])
            attacked += found(objective.attacked(detector, images, assignments), batch.image_ids, batch.letterboxes)
        tell(len(clean))
    return Measured(
        clean=average_precision(samples.split, clean),
        attacked=average_precision(samples.split, attacked) if objective.attack is not None else None,
        clean_detections=clean,
        attacked_detections=attacked,
    )
