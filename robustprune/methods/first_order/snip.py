"""SNIP (Lee et al. 2019): in one shot, how sensitive the loss is to whether a weight is there, |w · ∂L/∂w|."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from robustprune.core.operations import AttackWork, Work, training
from robustprune.core.progress import reporter
from robustprune.core.settings import Settings
from robustprune.methods.entry import InitializerEntry
from robustprune.methods.first_order.changes import changes
from robustprune.methods.problem import Problem
from robustprune.task import first_images


class SnipSettings(Settings):
    """How many images the loss is of."""

    images: int | None = Field(default=128, ge=1, description="training images used, each once; null for all")
    batch_size: int = Field(default=16, ge=1, description="images per pass; scores hardly depend on it")


def snip(network: nn.Module, problem: Problem, settings: SnipSettings) -> dict[str, Tensor]:
    """Return importance per layer: |w · ∂L/∂w| over the sum of those of all layers, in the weights' shape.

    w · ∂L/∂w is the derivative by a gate of 1 that the weight is multiplied by. L is the mean over all the images of
    what the network was trained to lower, under attack where it was, at the network as it is: other than `taylor`'s,
    batches are added up before the magnitude is taken.

    Raises:
        DivergedError: the loss is NaN or infinite.
    """
    images = first_images(problem.task, settings.images)
    batches = -(-images // settings.batch_size)
    report = reporter(problem.progress)
    report(0, batches, "batch")
    found = changes(network, problem, images=images, batch_size=settings.batch_size, method="snip")
    total: dict[str, Tensor] = {}
    for done, (count, by_layer) in enumerate(found, start=1):
        for name, change in by_layer.items():
            total[name] = total.get(name, 0) + change.double() * (count / images)
        report(done, batches, "batch")
    magnitudes = {name: change.abs() for name, change in total.items()}
    tiny = torch.finfo(torch.float64).tiny  # where no weight matters at all
    whole = torch.stack([magnitude.sum() for magnitude in magnitudes.values()]).sum().clamp(min=tiny)
    return {name: (magnitude / whole).float() for name, magnitude in magnitudes.items()}


def _work(
    settings: SnipSettings, *, forward: float, images: int, attack: AttackWork | None, clean_too: bool = True
) -> Work:
    return training(
        "snip's scores",
        forward=forward,
        images=min(settings.images or images, images),
        epochs=1,
        attack=attack,
        clean_too=clean_too,
        in_training=False,
    )


SNIP = InitializerEntry(score=snip, settings=SnipSettings, comparable=True, work=_work)
