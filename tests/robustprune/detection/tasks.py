"""Tasks of one detector at hand, and batches as its task yields them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robustprune.attacks import Attack
from robustprune.detection.anchors.detector import AnchorDetector
from robustprune.detection.data.samples import Samples
from robustprune.detection.detector import Detector
from robustprune.detection.losses.assignment import Assignment, assign
from robustprune.detection.task import DetectionTask
from robustprune.training import Objective


def task_of(detector: Detector, samples: Samples | None = None, **more: Any) -> DetectionTask:
    """Return detection by one detector, which learns `samples`; `more` are further attributes of the task."""
    size = 64 if samples is None else samples.image_size
    return DetectionTask.of(detector, **{"image_size": size, "train": samples, **more})


def clean(detector: Detector, samples: Samples | None = None, **more: Any) -> Objective:
    """Return the loss of clean images; `more` are further attributes of the task."""
    return Objective(task=task_of(detector, samples, **more))


def under(attack: Attack, detector: Detector, samples: Samples | None = None, **more: Any) -> Objective:
    """Return the losses of clean and of attacked images; `more` are further attributes of the task."""
    return Objective(task=task_of(detector, samples, **more), attack=attack, clean_too=True)


class Assigned(NamedTuple):
    """Images, and the anchors that answer for their objects."""

    images: Tensor
    targets: list[Assignment]


def assigned(detector: AnchorDetector, images: Tensor, targets: Tensor) -> Assigned:
    """Return what the detector's task would yield of images and their objects, (M, 6)."""
    images = images.contiguous(memory_format=torch.channels_last)
    return Assigned(images, assign(targets, detector.heads, images.shape[-1]))


def batch_of(detector: AnchorDetector, samples: Samples, indices: Sequence[int]) -> Assigned:
    """Return the samples of these indices."""
    batch = samples.batch(indices)
    return assigned(detector, batch.images, batch.targets)
