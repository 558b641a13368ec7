"""Floating-point operations of training, scoring and measuring a detector: arithmetic, before anything has run.

A multiply-add is two operations. The unit is a forward pass of one image: twice the multiply-adds of the convolutions
(`measure.cost`). Their gradients are convolutions again, of as many multiply-adds: one of the input's, one of the
weights'. So, in forward passes per image,

    attack       steps × (forward + input gradient)                             2 steps
    training     forward + input gradient + weight gradient                     3
    adversarial  the attack, and training on clean and on attacked images       2 steps + 6
    measuring    forward on clean and on attacked images, and the attack        2 steps + 2

Left out is what is no convolution: batch norm, activations, losses, boxes, the optimizer. They take memory bandwidth
rather than operations. One convolution too many is counted in training: nobody needs the gradient of the image.

What the stages of a study are made of is told in `stage_work`, and the work of an initializer beside its method.
"""

from __future__ import annotations

from typing import NamedTuple

from robustprune.attacks import AttackSettings, PgdSettings

FORWARD = INPUT_GRADIENT = WEIGHT_GRADIENT = 1


class Workload(NamedTuple):
    """A part of a stage's work; see `sweeps.study.Workload`."""

    description: str
    operations: float


def attack_passes(attack: AttackSettings) -> int:
    """Return the forward passes' worth of work that attacking one image takes."""
    steps, restarts = (attack.steps, attack.restarts) if isinstance(attack, PgdSettings) else (1, 1)
    compared = restarts * FORWARD if restarts > 1 else 0
    return restarts * steps * (FORWARD + INPUT_GRADIENT) + compared


def training_passes(attack: AttackSettings | None) -> int:
    """Return the forward passes' worth of work that training on one image takes, adversarially where attacked."""
    own = FORWARD + INPUT_GRADIENT + WEIGHT_GRADIENT
    return own if attack is None else attack_passes(attack) + 2 * own


def training(kind: str, *, forward: float, images: int, epochs: int, attack: AttackSettings | None) -> Workload:
    """Return the work of a training.

    Args:
        kind: what to call it.
        forward: operations of a forward pass of one image.
        images: per epoch.
        epochs: how often each image is trained on.
        attack: that the images are under beside being clean; None to train on clean ones alone.
    """
    attacked = f", {_attack_steps(attack)}" if attack is not None else ""
    return Workload(
        f"{kind}: {_counted(epochs, 'epoch')} of {_counted(images, 'image')}{attacked}",
        float(epochs) * images * training_passes(attack) * forward,
    )


def measuring(*, forward: float, images: int, timed: int, attack: AttackSettings) -> Workload:
    """Return the work of measuring precision, clean and under attack, and time, in `timed` forward passes."""
    passes = 2 * FORWARD + attack_passes(attack)
    return Workload(
        f"measuring: {_counted(images, 'image')}, clean and in {_attack_steps(attack)}",
        float(images) * passes * forward + timed * FORWARD * forward,
    )


def _attack_steps(attack: AttackSettings) -> str:
    steps, restarts = (attack.steps, attack.restarts) if isinstance(attack, PgdSettings) else (1, 1)
    return f"{restarts} × " * (restarts > 1) + _counted(steps, "attack step")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
