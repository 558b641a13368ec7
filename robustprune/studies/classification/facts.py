"""What a study of classifiers tells of itself to readers who have the results alone."""

from __future__ import annotations

from collections.abc import Sequence

from robustprune.studies.classification.settings import ClassificationSettings
from robustprune.studies.in_words import attack, classes, data, epochs, images


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
        "adversarial training": attack(settings.adversary),
        "epochs": epochs(
            before_pruning=settings.pretrain.epochs if trained else None, after_pruning=settings.retrain.epochs
        ),
    }
