"""What a study of classifiers tells of itself to readers who have the results alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robustprune.classification.data.images import LabelledImages
from robustprune.studies.classification.settings import ClassificationSettings
from robustprune.studies.in_words import attack, class_table, classes, data, epochs, images
from robustprune.studies.pruning.ratios import told_ratios
from robustprune.studies.pruning.under_attack import training_in_words
from sweeps.study import DataTable


def classification_facts(
    settings: ClassificationSettings, given: Sequence[str], trained: Sequence[str]
) -> dict[str, str]:
    """Return the data, the networks, the attacks and the trainings, in a few words under each label.

    Args:
        settings: of the study.
        given: models whose weights are given.
        trained: models that are trained here.

    Raises:
        InputError: the data cannot be read here.
    """
    dataset, measured = settings.dataset, settings.evaluation
    models = [*(f"{name} (given weights)" for name in given), *(f"{name} (trained here)" for name in trained)]
    return {
        "data set": data(dataset),
        "images": images(len(dataset.load("train")), len(dataset.load("test")), size=(dataset.image_size,) * 2),
        "classes": classes(dataset.classes),
        "classifiers": ", ".join(models),
        "attack": attack(measured.attack),
        "distances": "; ".join(map(attack, measured.distances)),
        "adversarial training": training_in_words(settings, settings.adversary),
        "epochs": epochs(
            before_pruning=settings.pretrain.epochs if trained else None, after_pruning=settings.retrain.epochs
        ),
        **told_ratios(settings.ratios),
    }


def data_tables(settings: ClassificationSettings) -> list[DataTable]:
    """Return how many images of each class there are in each split, and how large their files' pictures are.

    Raises:
        InputError: the data cannot be read here.
    """
    dataset = settings.dataset
    found = {"to train on": dataset.load("train"), "to measure on": dataset.load("test")}
    size = f"{dataset.image_size}x{dataset.image_size}"
    of_splits = DataTable(
        f"data: {getattr(dataset, 'root', dataset.name)}",
        ["", "images", "pixels", "resized to"],
        [[name, len(split), _pixels(split) or size, size] for name, split in found.items()],
    )
    counted = {
        name: np.bincount(split.labels.numpy(), minlength=len(dataset.classes)).tolist()
        for name, split in found.items()
    }
    return [of_splits, class_table(dataset.classes, counted, of="images")]


def _pixels(split: LabelledImages) -> str:
    """Return the sizes of the smallest and of the largest file."""
    by_area = sorted(set(split.files), key=lambda file: (file[0] * file[1], file))
    return " – ".join(dict.fromkeys(f"{width}x{height}" for width, height in by_area[:1] + by_area[-1:]))
