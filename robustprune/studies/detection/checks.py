"""What a detection study reads of its data before anything runs, and what it tells of it."""

from __future__ import annotations

from collections.abc import Sequence

from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.inspection import crowded, inspect
from robustprune.studies.detection.settings import DetectionSettings


def check_images(settings: DetectionSettings, splits: Sequence[CocoSplit]) -> list[str]:
    """Open every picture that is trained on or measured; return sentences on what a user should know of the data.

    Args:
        settings: of the study.
        splits: to train on, and to measure on.

    Raises:
        InputError: a picture cannot be read, or is in both where that is refused.
    """
    remarks = [split.remark for split in splits if split.remark is not None]
    remarks += crowded(
        splits[1], settings.evaluation.max_detections, setting="evaluation.max_detections: N lets more count"
    )
    return remarks + inspect(splits, policy=getattr(settings.dataset, "shared_pictures", "tell"))
