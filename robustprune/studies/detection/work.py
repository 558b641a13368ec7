"""What each stage of a detection study does, and the operations that takes; the arithmetic is in `core.operations`."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from robustprune.attacks import attack_work
from robustprune.core.operations import AttackWork, Work, measuring, training
from robustprune.detection import networks
from robustprune.detection.image_size import ImageSize, sides
from robustprune.detection.measure.evaluation import margin_attack
from robustprune.inference.cost import size
from robustprune.methods import INITIALIZERS, NoSettings
from robustprune.studies.detection.inputs import arranged, network_input
from robustprune.studies.detection.settings import DetectionSettings
from robustprune.studies.pruning.under_attack import TrainingWork, loop_work, training_work
from robustprune.training.renewal import renewal_work


class Scale(NamedTuple):
    """How much one pass over the data is: floating-point operations of an image forward, images of each split, and
    attacking one, to measure and in training, and the same of training where it goes through its loop.
    """

    forward: float
    images: int
    validation_images: int
    attack: AttackWork
    training: TrainingWork
    loop: TrainingWork


def scale(settings: DetectionSettings) -> Scale:
    """Return how much work one pass over the data is.

    Raises:
        InputError: the data or the .cfg cannot be read.
    """
    train, val = arranged(settings).splits
    read = network_input(settings)
    forward = forward_operations(settings.detector.config, len(train.categories), read.size)
    attack = settings.training_attack
    return Scale(
        forward,
        len(train),
        len(val),
        attack_work(settings.attack),
        training_work(settings, attack),
        loop_work(settings, attack),
    )


@functools.lru_cache(maxsize=16)
def forward_operations(config: str, classes: int, image_size: ImageSize) -> float:
    """Return the operations of one image: the same for all settings of a sweep that leave the detector as it is."""
    # On the meta device: shapes without numbers.
    with torch.device("meta"):
        detector = networks.build(config, classes=classes, image_size=image_size)
        return 2.0 * size(detector, torch.zeros(1, detector.channels, *sides(image_size))).macs


HARD = "measuring before fine-tuning"


def scoring_work(settings: DetectionSettings, of: Scale, initializer: str, *, left: float = 1.0) -> list[Work]:
    """Return the parts of a scoring's work; none for an initializer that does not tell its own.

    `left` is the share of a layer's filters that stay, where whole ones will be pruned.
    """
    method = INITIALIZERS[initializer]
    own = getattr(settings.initializers, initializer, NoSettings())
    attacking = TrainingWork(None, False)
    if method.attacked(own, trained=True):
        attacking = of.training if method.trains is None else of.loop
    return method.works(own, left=left, forward=of.forward, images=of.images, **attacking._asdict())


def stage_work(settings: DetectionSettings, of: Scale, *, left: float = 1.0) -> dict[str, list[Work]]:
    """Return the parts of the other stages' work, under the keys of `settings.stage_inputs`.

    `left` is the share of the operations with which a pruned detector is fine-tuned and measured: of one with a share
    s of its filters gone, (1 − s)², as each convolution has that many fewer, and each reads that many fewer channels.
    """

    def adversarial(kind: str, epochs: int, *, left: float = 1.0) -> Work:
        return training(kind, forward=left * of.forward, images=of.images, epochs=epochs, **of.loop._asdict())

    if settings.detector.is_whole:
        base = Work("weights as they are given", 0.0)
    else:
        assert settings.base is not None
        base = training("training", forward=of.forward, images=of.images, epochs=settings.base.epochs, attack=None)
    # The detector, the unpruned one and a copy of that take turns.
    timed = 3 * (settings.evaluation.timing_repeats + settings.evaluation.timing_warm_up)
    renewed = (
        []
        if settings.renewal is None
        else [renewal_work(settings.renewal, forward=left * of.forward, images=of.images, **of.training._asdict())]
    )
    attacks = [of.attack]
    if settings.evaluation.margin is not None:
        attacks.append(attack_work(margin_attack(settings.attack, steps=settings.evaluation.margin.steps)))
    of_images = functools.partial(measuring, forward=of.forward, images=of.validation_images, left=left)
    measured = of_images(timed=timed, attacks=attacks)
    before = [of_images(timed=0, attacks=[of.attack], what=HARD)]
    return {
        "base": [base],
        "pretrain": [adversarial("adversarial training", settings.pretrain.epochs)],
        "evaluate_row": [
            adversarial("fine-tuning", settings.finetune.epochs, left=left),
            *renewed,
            *(before if settings.hard_pruned else []),
            measured,
        ],
        "baseline": [measured],
    }
