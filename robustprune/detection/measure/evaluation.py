"""Measure a detector: detections and their precision on clean and on attacked images, in one pass over the data."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from robustprune.attacks import Attack, PgdSettings
from robustprune.core.settings import Settings
from robustprune.core.timing import TimingSettings
from robustprune.detection.data.samples import Batch, Samples
from robustprune.detection.detector import Detector
from robustprune.detection.losses.margin import MarginLoss
from robustprune.detection.measure.average_precision import AveragePrecision, average_precision
from robustprune.detection.measure.bootstrap import Intervals, intervals
from robustprune.detection.measure.breakdown import Line, breakdown
from robustprune.detection.measure.detections import detect
from robustprune.detection.measure.kitti_ap import KittiSettings, LevelPrecision, level_precisions
from robustprune.detection.measure.matching import MAX_DETECTIONS, Detections, matched, matched_by_size
from robustprune.training import Objective


class MarginSettings(Settings):
    """The second attack: projected gradient ascent of `losses.margin.MarginLoss`, in the ball of the attack."""

    steps: int = Field(default=20, ge=1, description="gradient steps")


class Evaluation(TimingSettings):
    """How detections are drawn from raw outputs, under what they are measured, and how often inference is timed."""

    batch_size: int = Field(default=32, ge=1, description="images at a time; no precision depends on it")
    confidence: float = Field(default=0.005, ge=0, lt=1, description="boxes that are surer than that count")
    nms_iou: float = Field(
        default=0.45, gt=0, le=1, description="of boxes of a class that overlap more, the surest counts"
    )
    max_detections: int = Field(
        default=MAX_DETECTIONS, ge=1, description="of an image, the surest; where images hold more objects, set more"
    )
    margin: MarginSettings | None = Field(
        default=MarginSettings(),
        description="measure under the margin attack too, where the attack's ball is L∞; null does without",
    )
    kitti: KittiSettings = Field(
        default=KittiSettings(),
        description="KITTI's own precision, of easy, moderate and hard objects, where it has them",
    )


def is_linf(attack: Settings) -> bool:
    """Say whether an attack's ball is that of the margin attack: of a plug-in's in another norm there is none."""
    return getattr(attack, "norm", "linf") == "linf"


def margin_attack(attack: Settings, *, steps: int) -> PgdSettings:
    """Return the margin attack beside another attack within a ball: the same radius, from the images themselves.

    Its steps are as long as those of the other where that takes several; else 2.5 epsilon / steps, after Madry et al.
    (2018), but no longer than the radius.
    """
    epsilon = float(attack.epsilon)  # type: ignore[attr-defined]
    own = getattr(attack, "step_size", None) if hasattr(attack, "steps") else None
    return PgdSettings(epsilon=epsilon, step_size=own or min(epsilon, 2.5 * epsilon / steps), steps=steps)


class Measured(NamedTuple):
    """Average precision on the same images, untouched and under attacks, and the detections that it is of.

    Attributes:
        clean: On the untouched images.
        attacked: Under the objective's attack; None where there was none.
        interval: Of `attacked`, by resampling images.
        margin: Under the margin attack alone, not the worse of the two; None where there was none.
        clean_detections: Image by image, in their order.
        attacked_detections: Likewise, under the objective's attack; empty where there was none.
        clean_lines: `clean` by class and size.
        attacked_lines: `attacked` likewise; empty where there was none.
        clean_levels: KITTI's precision by level and class; empty where images have no levels.
        attacked_levels: Likewise, under the objective's attack.
    """

    clean: AveragePrecision
    attacked: AveragePrecision | None
    interval: Intervals | None
    margin: AveragePrecision | None
    clean_detections: list[Detections]
    attacked_detections: list[Detections]
    clean_lines: list[Line]
    attacked_lines: list[Line]
    clean_levels: list[LevelPrecision]
    attacked_levels: list[LevelPrecision]


def evaluate(
    detector: Detector,
    samples: Samples,
    *,
    objective: Objective,
    settings: Evaluation,
    margin: Attack | None = None,
    tell: Callable[[int], object] = lambda images: None,
) -> Measured:
    """Measure `detector` on all of `samples`, and under attacks.

    Each image is read once. What is found in it does not depend on the others of its batch, but for rounding.

    Args:
        detector: left in eval mode.
        samples: to measure on.
        objective: whose attack, if it has one, ascends the loss of its task.
        settings: batches, and what counts as detected.
        margin: an attack that ascends `MarginLoss`, if that is asked for; see `margin_attack`.
        tell: called after each batch with the number of images evaluated so far.
    """
    detector.eval()
    device = next(detector.parameters()).device
    clean: list[Detections] = []
    attacked: list[Detections] = []
    by_margin: list[Detections] = []
    for batch in samples.stream(indices.tolist() for indices in torch.arange(len(samples)).split(settings.batch_size)):
        images = batch.images.to(device, memory_format=torch.channels_last)
        targets = batch.targets.to(device)
        clean += _found(detector, images, batch, settings)
        wanted = detector.targets(targets, (images.shape[-2], images.shape[-1]), images=len(images))
        if objective.attack is not None:
            attacked += _found(detector, objective.attacked(detector, images, wanted), batch, settings)
        if margin is not None:
            with objective.task.held_still(detector, {}) as answer:
                training_losses = functools.partial(objective.task.losses, targets=wanted)
                perturbed = margin(MarginLoss(answer, targets, detector.candidates, training_losses), images)
            by_margin += _found(detector, perturbed, batch, settings)
        tell(len(clean))
    limit = settings.max_detections
    untouched = matched_by_size(samples.split, clean, limit=limit)
    under_attack = matched_by_size(samples.split, attacked, limit=limit) if objective.attack is not None else {}
    return Measured(
        clean=average_precision(untouched["all"]),
        attacked=average_precision(under_attack["all"]) if under_attack else None,
        interval=intervals(under_attack["all"]) if under_attack else None,
        margin=average_precision(matched(samples.split, by_margin, limit=limit)) if margin is not None else None,
        clean_detections=clean,
        attacked_detections=attacked,
        clean_lines=breakdown(untouched),
        attacked_lines=breakdown(under_attack),
        clean_levels=level_precisions(samples.split, clean, settings.kitti),
        attacked_levels=level_precisions(samples.split, attacked, settings.kitti) if under_attack else [],
    )


def _found(detector: Detector, images: Tensor, batch: Batch, settings: Evaluation) -> list[Detections]:
    """Return the detections in `images`, the squares of a batch or what an attack made of them."""
    pictures = [letterbox.inner for letterbox in batch.letterboxes]
    found = detect(
        detector,
        images,
        confidence=settings.confidence,
        nms_iou=settings.nms_iou,
        limit=settings.max_detections,
        pictures=pictures,
    )
    return [
        Detections(image_id, letterbox.to_image(squares).cpu(), scores.cpu(), classes.cpu())
        for image_id, letterbox, (squares, scores, classes) in zip(
            batch.image_ids, batch.letterboxes, found, strict=True
        )
    ]
