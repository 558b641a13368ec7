"""Floating-point operations of training, scoring and measuring a network: arithmetic, before anything has run.

A multiply-add is two operations. The unit is a forward pass of one image: twice the multiply-adds of its layers
(`inference.cost`). Their gradients are convolutions again, of as many multiply-adds: one of the input's, one of the
weights'. So, in forward passes per image,

    attack       steps × (forward + input gradient)                             2 steps
    training     forward + input gradient + weight gradient                     3
    adversarial  the attack, the batch's statistics for it, and training on
                 clean and on attacked images                                   2 steps + 7
    measuring    forward on clean images, and for each attack 2 steps + 1       2 steps + 2

Left out is what is no convolution: batch norm, activations, losses, boxes, the optimizer. They take memory bandwidth
rather than operations. One convolution too many is counted in training: nobody needs the gradient of the image.

What the stages of a study are made of is told in `stage_work`, and the work of an initializer beside its method.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

FORWARD = INPUT_GRADIENT = WEIGHT_GRADIENT = STATISTICS = 1


class Work(NamedTuple):
    """A part of a stage's work: what it does, in a few words that are the same for like work, and its operations."""

    description: str
    operations: float


class AttackWork(NamedTuple):
    """What attacking one image takes: forward passes' worth of work, and the steps in words."""

    passes: int
    steps: str


def training_passes(attack: AttackWork | None, *, clean_too: bool = True, in_training: bool = True) -> int:
    """Return the forward passes' worth of work that training on one image takes, adversarially where attacked.

    Args:
        attack: that images are under; None where they are not.
        clean_too: the attacked image is trained on beside the clean one, not in its place.
        in_training: the network is in training, so that an attack needs the batch's statistics first.
    """
    own = FORWARD + INPUT_GRADIENT + WEIGHT_GRADIENT
    if attack is None:
        return own
    return attack.passes + (STATISTICS if in_training else 0) + (1 + clean_too) * own


def training(
    kind: str,
    *,
    forward: float,
    images: int,
    epochs: int,
    attack: AttackWork | None,
    clean_too: bool = True,
    in_training: bool = True,
) -> Work:
    """Return the work of a training.

    Args:
        kind: what to call it.
        forward: operations of a forward pass of one image.
        images: per epoch.
        epochs: how often each image is trained on.
        attack: see `training_passes`.
        clean_too: see `training_passes`.
        in_training: see `training_passes`.
    """
    attacked = f", {attack.steps}" if attack is not None else ""
    return Work(
        f"{kind}: {counted(epochs, 'epoch')} of {counted(images, 'image')}{attacked}",
        float(epochs) * images * training_passes(attack, clean_too=clean_too, in_training=in_training) * forward,
    )


def measuring(
    *,
    forward: float,
    images: int,
    timed: int,
    attacks: Sequence[AttackWork],
    left: float = 1.0,
    what: str = "measuring",
) -> Work:
    """Return the work of measuring precision, clean and under attacks, and time, in `timed` forward passes.

    `left` is the share of the operations with which precision is measured, and not time.
    """
    passes = FORWARD + sum(FORWARD + attack.passes for attack in attacks)
    # Two attacks of as many steps are told as such, and not in the same words twice.
    times = Counter(attack.steps for attack in attacks)
    said = [f"{count} times {steps}" if count > 1 else steps for steps, count in times.items()]
    return Work(
        f"{what}: {counted(images, 'image')}, clean and in {' and in '.join(said)}",
        float(images) * passes * left * forward + timed * FORWARD * forward,
    )


def counted(number: int, noun: str) -> str:
    """Return `1 epoch`, `2,000 epochs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
