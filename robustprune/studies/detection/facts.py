"""What a study of detectors tells of itself to readers who have the results alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.description import box_sides, counts, level_counts
from robustprune.detection.data.kitti.levels import LEVELS
from robustprune.detection.image_size import in_words, sides
from robustprune.detection.measure.evaluation import is_linf
from robustprune.detection.measure.kitti_ap import ceiling
from robustprune.studies.detection.inputs import arranged, network_input
from robustprune.studies.detection.settings import DetectionSettings, DetectorSettings
from robustprune.studies.in_words import attack, class_table, classes, data, epochs, images
from robustprune.studies.pruning.ratios import told_ratios
from robustprune.studies.pruning.under_attack import training_in_words
from sweeps.study import DataTable


def detection_facts(settings: DetectionSettings) -> dict[str, str]:
    """Return the data, the detector, the attack and the trainings, in a few words under each label.

    Raises:
        InputError: the data cannot be read here.
    """
    (train_split, val_split), margin = arranged(settings).splits, settings.evaluation.margin
    attacks, detector = attack(settings.attack), settings.detector
    if margin is not None and is_linf(settings.attack):
        attacks += f"; measured under the margin attack too, steps {margin.steps}"
    levels = _levels_in_words(val_split, settings)
    trained, measured_under = training_in_words(settings, settings.training_attack), attack(settings.attack)
    return {
        "data set": data(settings.dataset),
        "images": images(len(train_split), len(val_split), size=sides(network_input(settings).size)),
        "classes": classes(val_split.category_names),
        **({"levels": levels} if levels else {}),
        "detector": f"{detector.config}, {_start(detector)}, loss {detector.loss or 'its own'}",
        "attack": attacks,
        **({} if trained == measured_under else {"adversarial training": trained}),
        "epochs": epochs(
            clean_training=None if settings.base is None else settings.base.epochs,
            adversarial_training=settings.pretrain.epochs,
            after_pruning=settings.finetune.epochs,
        ),
        **told_ratios(settings.ratios),
    }


def data_tables(settings: DetectionSettings) -> list[DataTable]:
    """Return how many images, boxes and objects of each class there are in each split.

    Raises:
        InputError: the data cannot be read here.
    """
    splits, read = arranged(settings).splits, network_input(settings)
    found = dict(zip(("to train on", "to measure on"), splits, strict=True))
    of_splits = DataTable(
        f"data: {' and '.join(dict.fromkeys(split.source for split in splits))}",
        [
            "",
            "images",
            "without boxes",
            "pixels",
            "boxes",
            "crowds",
            "most in one",
            f"side at {in_words(read.size)}: 10, 50, 90%",
        ],
        [_line(name, split, settings) for name, split in found.items()],
    )
    counted = {name: counts(split).of_class.tolist() for name, split in found.items()}
    of_levels: list[Sequence[str | int]] = [
        [f"{name}, {of_class.name}", *of_class.of_level.values()]
        for name, split in found.items()
        for of_class in level_counts(split)
    ]
    heads = ["", *(level.name for level in LEVELS)]
    return [
        of_splits,
        class_table(splits[0].category_names, counted, of="boxes"),
        *([DataTable("KITTI's levels, objects that count", heads, of_levels)] if of_levels else []),
    ]


def few_objects(split: CocoSplit, settings: DetectionSettings) -> list[str]:
    """Return a sentence where so few objects count that KITTI's AP cannot be 1, whatever a detector finds."""
    said = []
    for name, of_level in level_counts(split):
        most = [ceiling(objects, settings.evaluation.kitti.interpolation) for objects in of_level.values()]
        if min(most) < 1:
            counted = ", ".join(f"{objects} {level}" for level, objects in of_level.items())
            said.append(
                f"{split.source}: of {name} {counted} objects count, so few that KITTI's AP is at most "
                f"{', '.join(f'{each:.3g}' for each in most)} (columns ap_*_ceiling)"
            )
    return said


def _levels_in_words(split: CocoSplit, settings: DetectionSettings) -> str:
    """Return how many objects count at each level, and the most that AP can be where they are few."""

    def told(level: str, objects: int) -> str:
        most = ceiling(objects, settings.evaluation.kitti.interpolation)
        return f"{level} {objects}" + (f" (AP at most {most:.3g})" if most < 1 else "")

    return "; ".join(
        f"{name}: {', '.join(told(*each) for each in of_level.items())}" for name, of_level in level_counts(split)
    )


def _line(name: str, split: CocoSplit, settings: DetectionSettings) -> Sequence[str | int]:
    found, read = counts(split), network_input(settings)
    pictures = sorted({(image.width * image.height, image.width, image.height) for image in split.images})
    pixels = " – ".join(dict.fromkeys(f"{width}x{height}" for _, width, height in (pictures[0], pictures[-1])))
    side = np.sqrt(box_sides(split, read.size, read.fit).prod(axis=1))
    spread = ", ".join(f"{each:.0f}" for each in np.quantile(side, (0.1, 0.5, 0.9))) if len(side) else ""
    return [name, found.images, found.empty, pixels, found.boxes, found.crowds, found.most, spread]


def _start(detector: DetectorSettings) -> str:
    if detector.is_whole:
        return "given weights"
    if detector.weights is None:
        return "trained from scratch" if detector.backbone is None else "trained from the backbone's weights"
    layers = "layer's" if detector.weights_cutoff == 1 else f"{detector.weights_cutoff} layers'"
    return f"trained from the first {layers} weights"
