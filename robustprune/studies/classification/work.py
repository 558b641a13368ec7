"""What each stage of a classification study does, and the operations that takes; the unit is in `core.operations`."""

from __future__ import annotations

import functools
from typing import Any

import torch

from robustprune.attacks import attack_work
from robustprune.classification import networks
from robustprune.classification.classifier import NORMALISATIONS, Classifier
from robustprune.classification.measure.attacks import members
from robustprune.classification.task import held_out_of
from robustprune.core.operations import FORWARD, Work, counted, training_passes
from robustprune.inference.cost import size
from robustprune.methods import INITIALIZERS, NoSettings
from robustprune.structures import STRUCTURES
from robustprune.structures.narrowing import can_be_narrowed
from robustprune.studies.classification.settings import ClassificationSettings, retrained_under_attack
from robustprune.studies.pruning.under_attack import TrainingWork, loop_work, training_work
from robustprune.training import Training
from robustprune.training.renewal import renewal_work
from sweeps.study import NONE, Cell


def stage_work(settings: ClassificationSettings, name: str, cell: Cell) -> list[Work]:
    """Return the parts of a stage's work for one cell; nothing for an initializer that does not tell its own.

    Of a network with a share s of its channels removed, (1 − s)² of the operations are left: each convolution has that
    many fewer filters, and each filter reads that many fewer channels. Scopes and shortcuts make it more or less.

    Raises:
        InputError: the data cannot be read.
    """
    model, training = str(cell["model"]), str(cell["training"])
    dataset = settings.dataset
    forward = 2.0 * _macs(model, len(dataset.classes), dataset.image_size)
    if name == "pretrain":
        if settings.given(model, training) is not None:
            return [Work(f"{model}: weights as they are given", 0.0)]
        attacked = training == "adversarial"
        return [_training(f"{model}: {training} training", settings, settings.pretrain, attacked, forward)]
    if name == "score":
        initializer = str(cell["initializer"])
        method = INITIALIZERS[initializer]
        own = getattr(settings.initializers, initializer, NoSettings())
        images = len(dataset.load("train"))
        images -= held_out_of(images, settings.holdout)
        attacked = method.attacked(own, trained=training == "adversarial")
        attack, clean_too = _attack(settings, attacked=attacked, in_loop=method.trains is not None)
        coupled = method.per_ratio and STRUCTURES[str(cell["structure"])].coupled
        left = 1 - float(cell["ratio"]) if coupled else 1.0
        scale = {"forward": forward, "images": images, "attack": attack, "clean_too": clean_too}
        return method.works(own, left=left, **scale)
    assert name == "evaluate_row"
    is_baseline = cell["initializer"] == NONE
    pruned = None if is_baseline else STRUCTURES[str(cell["structure"])]
    share = (1 - float(cell["ratio"])) ** 2
    if pruned is None:
        return [_measuring(model, settings, forward, forward)]
    attacked = retrained_under_attack(settings, training)
    # Masked channels are computed with no more while the others are trained and measured.
    narrow = pruned.coupled and can_be_narrowed(_on_paper(model, len(dataset.classes), dataset.image_size))
    left = forward * (share if narrow or pruned.removes else 1)
    measuring = _measuring(model, settings, left, forward)
    retraining = _training(f"{model}: retraining", settings, settings.retrain, attacked, left)
    measured = [*([_hard_pruned(model, settings, left)] if settings.hard_pruned else []), measuring]
    if settings.renewal is None:
        return [retraining, *measured]
    images = len(settings.dataset.load("train"))
    images -= held_out_of(images, settings.holdout)
    attack, clean_too = _attack(settings, attacked=attacked)
    renewed = renewal_work(settings.renewal, forward=left, images=images, attack=attack, clean_too=clean_too)
    return [retraining, renewed, *measured]


def _attack(settings: ClassificationSettings, *, attacked: bool, in_loop: bool = False) -> TrainingWork:
    """Return what attacking an image in training takes, and whether it is trained on unattacked too."""
    if not attacked:
        return TrainingWork(None, False)
    return (loop_work if in_loop else training_work)(settings, settings.adversary)


def _training(kind: str, settings: ClassificationSettings, training: Training, attacked: bool, forward: float) -> Work:
    images = len(settings.dataset.load("train"))
    held_out = held_out_of(images, settings.holdout)
    attack, clean_too = _attack(settings, attacked=attacked, in_loop=True)
    chosen_by = FORWARD + (attack_work(settings.adversary).passes if attacked else 0)
    passes = (images - held_out) * training_passes(attack, clean_too=clean_too) + held_out * chosen_by
    under = ", under attack" if attacked else ""
    return Work(
        f"{kind}: {counted(training.epochs, 'epoch')} of {images - held_out:,} images{under}",
        float(training.epochs) * passes * forward,
    )


def _measuring(model: str, settings: ClassificationSettings, forward: float, dense: float) -> Work:
    evaluation, images = settings.evaluation, len(settings.dataset.load("test"))
    distant = min(evaluation.images or images, images)
    works = [attack_work(attack) for attack in evaluation.distances]
    steps = sum(int(_steps(attack)) for attack in evaluation.distances)
    passes = images * _passes_of_accuracies(settings) + distant * sum(work.passes for work in works)
    timed = (evaluation.timing_repeats + evaluation.timing_warm_up) * (forward + 2 * dense)
    return Work(
        f"{model}: measuring {images:,} images, and of {distant:,} the distances in {steps:,} attack steps",
        passes * forward + timed,
    )


def _hard_pruned(model: str, settings: ClassificationSettings, forward: float) -> Work:
    images = len(settings.dataset.load("test"))
    return Work(
        f"{model}: measuring {images:,} images before retraining", images * _passes_of_accuracies(settings) * forward
    )


def _passes_of_accuracies(settings: ClassificationSettings) -> float:
    """Return the passes per image that accuracies take, clean and under the attacks of the ball."""
    # Every attack of the ball ends in a forward pass; which images are blind, and go to Square, nobody knows before.
    balls = members(settings.evaluation.attack, len(settings.dataset.classes)).values()
    return float((1 + len(balls)) * FORWARD + sum(attack_work(each).passes for each in balls))


def _steps(attack: Any) -> int:
    return int(getattr(attack, "steps", 1))


@functools.lru_cache(maxsize=64)
def _macs(model: str, classes: int, image_size: int) -> int:
    classifier = _on_paper(model, classes, image_size)
    with torch.device("meta"):
        return size(classifier, torch.zeros(1, 3, image_size, image_size)).macs


@functools.lru_cache(maxsize=64)
def _on_paper(model: str, classes: int, image_size: int) -> Classifier:
    # On the meta device: shapes without numbers.
    with torch.device("meta"):
        network = networks.build(model, classes=classes, image_size=image_size)
        return Classifier(network, NORMALISATIONS["none"], classes=["?"] * classes)
