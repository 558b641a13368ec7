"""What a detection study reads of its data before anything runs, and what it tells of it."""

from __future__ import annotations

from collections.abc import Sequence

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.inspection import crowded, inspect
from robustprune.detection.image_size import in_words, sides
from robustprune.detection.task import DetectionTask
from robustprune.methods import INITIALIZERS
from robustprune.studies.cpu_time import has_gpu
from robustprune.studies.detection.data_fit import classes_differ, fit_remarks
from robustprune.studies.detection.facts import few_objects
from robustprune.studies.detection.galleries import chosen_images
from robustprune.studies.detection.inputs import arranged, input_remarks
from robustprune.studies.detection.settings import DetectionSettings
from robustprune.studies.pruning.ratios import check_ratios, layer_names
from robustprune.training.objectives import check_fit as check_objective
from robustprune.training.renewal import capped
from sweeps.study import Cell


def check_inputs(settings: DetectionSettings, cells: Sequence[Cell], task: DetectionTask) -> list[str]:
    """Read the data set, each of its pictures, the .cfg and the weights; return what a user should know of them.

    Args:
        settings: of the study.
        cells: of the grid.
        task: of the study, on the CPU.

    Raises:
        InputError: something in them is wrong, or a method does not fit.
    """
    # No matter of validation: sweeps of both were run, and their specs must still be read.
    given = settings.detector
    if given.is_whole and settings.base is not None:
        raise InputError(
            "base: found a training, but detector.weights too, expected one of them (--set base=null), or "
            "detector.weights_cutoff, the layers that start from the weights"
        )
    if given.weights_cutoff is not None and given.weights is None:
        raise InputError(f"detector.weights_cutoff: found {given.weights_cutoff}, but no detector.weights to cut off")
    attack_field = "attack" if settings.adversary is None else "adversary"
    check_objective(
        settings.objective,
        task,
        attack=settings.training_attack,
        fields=("objective", attack_field),
        free=settings.free is not None,
    )
    if settings.grad_align is not None and settings.compute.compile:
        raise InputError(
            "compute.compile: found true with grad_align, expected false: passes that are compiled have no second "
            "derivative"
        )
    splits, size = arranged(settings).splits, task.image_size
    try:
        detector = task.fresh(settings.base_seed)
    except InputError as error:
        if given.weights is not None and (differ := classes_differ(settings)):
            raise InputError(f"{error}; {differ}") from error
        raise
    if any(side % detector.stride for side in sides(size)):
        found = size if isinstance(size, int) else in_words(size)
        raise InputError(f"detector.image_size is {found}, expected a multiple of {detector.stride}")
    for initializer in dict.fromkeys(str(cell["initializer"]) for cell in cells):
        check = INITIALIZERS.lookup(initializer).check
        if check is not None:
            check(task, detector)
    prunable = [*detector.prunable_layers(heads=settings.prune_heads)]
    of_layers = check_ratios(settings.ratios, {given.config: (layer_names(detector), prunable)})
    chosen_images(splits[1], settings.detections.images or ())
    remarks = of_layers + capped(settings.renewal, images=len(splits[0]))
    remarks += input_remarks(settings, {"colour": {str(cell["colour"]) for cell in cells}})
    remarks += fit_remarks(settings, detector, on_cpu=not has_gpu())
    # Last, as it takes long: every other mistake is told at once.
    return remarks + check_images(settings, splits)


def check_images(settings: DetectionSettings, splits: Sequence[CocoSplit]) -> list[str]:
    """Open every picture that is trained on or measured; return sentences on what a user should know of the data.

    Args:
        settings: of the study.
        splits: to train on, and to measure on.

    Raises:
        InputError: a picture cannot be read, or is in both where that is refused.
    """
    remarks = [split.remark for split in splits if split.remark is not None]
    remarks += few_objects(splits[1], settings)
    remarks += crowded(
        splits[1], settings.evaluation.max_detections, setting="evaluation.max_detections: N lets more count"
    )
    return remarks + inspect(splits, policy=getattr(settings.dataset, "shared_pictures", "tell"))
