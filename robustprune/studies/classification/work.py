"""What each stage of a classification study does, and the operations that takes; the unit is told in `workload`."""

from __future__ import annotations

import functools

import torch

from robustprune.attacks import FgsmSettings, PgdSettings
from robustprune.attacks.apgd import ApgdSettings
from robustprune.classification import networks
from robustprune.classification.importances import IMPORTANCES
from robustprune.classification.measure.cost import size
from robustprune.classification.networks.classifier import CIFAR10, Classifier
from robustprune.classification.training import Training
from robustprune.core.operations import FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, Workload, attack_passes
from robustprune.studies.classification.settings import ClassificationSettings, retrained_under_attack
from robustprune.studies.declared import NONE, Cell


def stage_work(settings: ClassificationSettings, name: str, cell: Cell) -> list[Workload]:
    """Return the parts of a stage's work for one cell; nothing for an importance that does not tell its own.

    Of a network with a share s of its channels pruned, (1 − s)² of the operations are left: each convolution has that
    many fewer filters, and each filter reads that many fewer channels. Scopes and shortcuts make it more or less.

    Raises:
        InputError: the data cannot be read.
    """
    model, training = str(cell["model"]), str(cell["training"])
    dataset = settings.dataset
    forward = 2.0 * _macs(model, len(dataset.classes), dataset.image_size)
    kept = (1 - float(cell["sparsity"])) ** 2
    if name == "pretrain":
        if settings.given(model, training) is not None:
            return [Workload(f"{model}: weights as they are given", 0.0)]
        return [
            _training(f"{model}: {training} training", settings, settings.pretrain, training == "adversarial", forward)
        ]
    if name == "score":
        work = IMPORTANCES[cell["importance"]].work
        own = getattr(settings.importances, str(cell["importance"]), None)
        images = round((1 - settings.holdout) * len(dataset.load("train")))
        attack = settings.adversary if training == "adversarial" else None
        return [] if work is None else [work(own, forward=forward, images=images, attack=attack)]
    assert name == "evaluate_row"
    measuring = _measuring(model, settings, forward * kept, forward)
    if cell["importance"] == NONE:
        return [measuring]
    attacked = retrained_under_attack(settings, training)
    return [_training(f"{model}: retraining", settings, settings.retrain, attacked, forward * kept), measuring]


def _training(
    kind: str, settings: ClassificationSettings, training: Training, attacked: bool, forward: float
) -> Workload:
    images = len(settings.dataset.load("train"))
    held_out = round(settings.holdout * images)
    attack = attack_passes(settings.adversary) if attacked else 0
    trained = attack + FORWARD + INPUT_GRADIENT + WEIGHT_GRADIENT
    passes = (images - held_out) * trained + held_out * (attack + FORWARD)
    under = ", under attack" if attacked else ""
    epochs = f"{training.epochs:,} epoch{'' if training.epochs == 1 else 's'}"
    return Workload(
        f"{kind}: {epochs} of {images - held_out:,} images{under}", float(training.epochs) * passes * forward
    )


def _measuring(model: str, settings: ClassificationSettings, forward: float, dense: float) -> Workload:
    evaluation, images = settings.evaluation, len(settings.dataset.load("test"))
    distant = min(evaluation.images or images, images)
    steps = sum(attack.steps for attack in evaluation.distances)
    passes = images * (2 * FORWARD + _attack_passes(evaluation.attack)) + distant * steps * (FORWARD + INPUT_GRADIENT)
    timed = (evaluation.timing_repeats + evaluation.timing_warm_up) * (forward + dense)
    return Workload(
        f"{model}: measuring {images:,} images, and of {distant:,} the distances in {steps:,} attack steps",
        passes * forward + timed,
    )


def _attack_passes(attack: PgdSettings | FgsmSettings | ApgdSettings) -> int:
    if isinstance(attack, ApgdSettings):
        return attack.restarts * (attack.steps + 1) * (FORWARD + INPUT_GRADIENT)
    return attack_passes(attack)


@functools.lru_cache(maxsize=64)
def _macs(model: str, classes: int, image_size: int) -> int:
    # On the meta device: shapes without numbers.
    with torch.device("meta"):
        network = networks.build(model, classes=classes, image_size=image_size)
        classifier = Classifier(network, CIFAR10, classes=["?"] * classes)
    return size(classifier, image_size=image_size).macs
