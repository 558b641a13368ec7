"""What a study of detectors tells of itself to readers who have the results alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.description import box_sides, counts
from robustprune.detection.image_size import in_words, sides
from robustprune.detection.measure.evaluation import is_linf
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
    trained, measured_under = training_in_words(settings, settings.training_attack), attack(settings.attack)
    return {
        "data set": data(settings.dataset),
        "images": images(len(train_split), len(val_split), size=sides(network_input(settings).size)),
        "classes": classes(val_split.category_names),
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
    return [of_splits, class_table(splits[0].category_names, counted, of="boxes")]


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
        return "trained from scratch"
    layers = "layer's" if detector.weights_cutoff == 1 else f"{detector.weights_cutoff} layers'"
    return f"trained from the first {layers} weights"
