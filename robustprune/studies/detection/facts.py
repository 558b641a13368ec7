"""What a study of detectors tells of itself to readers who have the results alone."""

from __future__ import annotations

from robustprune.detection.image_size import sides
from robustprune.detection.measure.evaluation import is_linf
from robustprune.studies.detection.inputs import arranged, network_input
from robustprune.studies.detection.settings import DetectionSettings, DetectorSettings
from robustprune.studies.in_words import attack, classes, data, epochs, images


def detection_facts(settings: DetectionSettings) -> dict[str, str]:
    """Return the data, the detector, the attack and the trainings, in a few words under each label.

    Raises:
        InputError: the data cannot be read here.
    """
    (train_split, val_split), margin = arranged(settings).splits, settings.evaluation.margin
    attacks = attack(settings.attack)
    if margin is not None and is_linf(settings.attack):
        attacks += f"; measured under the margin attack too, steps {margin.steps}"
    return {
        "data set": data(settings.dataset),
        "images": images(len(train_split), len(val_split), size=sides(network_input(settings).size)),
        "classes": classes(val_split.category_names),
        "detector": f"{settings.detector.config}, {_start(settings.detector)}, loss {settings.detector.loss}",
        "attack": attacks,
        "epochs": epochs(
            clean_training=None if settings.base is None else settings.base.epochs,
            adversarial_training=settings.pretrain.epochs,
            after_pruning=settings.finetune.epochs,
        ),
    }


def _start(detector: DetectorSettings) -> str:
    if detector.is_whole:
        return "given weights"
    if detector.weights is None:
        return "trained from scratch"
    layers = "layer's" if detector.weights_cutoff == 1 else f"{detector.weights_cutoff} layers'"
    return f"trained from the first {layers} weights"
