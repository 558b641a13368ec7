"""How much the loss would change, to first order, if a weight were zero (Molchanov et al. 2017, 2019): |w · ∂L/∂w|."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from robustprune.core.operations import AttackWork, Work, training
from robustprune.core.settings import Settings
from robustprune.methods.entry import InitializerEntry
from robustprune.methods.first_order.changes import changes
from robustprune.methods.first_order.mean_magnitude import mean_magnitude
from robustprune.methods.problem import Problem
from robustprune.task import first_images


class TaylorSettings(Settings):
    """How many images the loss is of."""

    images: int | None = Field(default=None, ge=1, description="training images used, each once; null for all")
    batch_size: int = Field(default=16, ge=1, description="images per pass")


def taylor(network: nn.Module, problem: Problem, settings: TaylorSettings) -> dict[str, Tensor]:
    """Return importance per layer: the mean over batches of |w · ∂L/∂w|, in the weights' shape.

    L is what the network was trained to lower, under attack where it was, in one pass over the images. Batch norm is
    held still: weights are worth what they are to the network as it is used.

    Raises:
        DivergedError: the loss is NaN or infinite.
    """
    images = first_images(problem.task, settings.images)
    found = changes(network, problem, images=images, batch_size=settings.batch_size, method="taylor")
    return mean_magnitude(
        (each for _, each in found), batches=-(-images // settings.batch_size), progress=problem.progress
    )


def _work(
    settings: TaylorSettings, *, forward: float, images: int, attack: AttackWork | None, clean_too: bool = True
) -> Work:
    used = min(settings.images or images, images)
    return training(
        "taylor's scores",
        forward=forward,
        images=used,
        epochs=1,
        attack=attack,
        clean_too=clean_too,
        in_training=False,
    )


TAYLOR = InitializerEntry(score=taylor, settings=TaylorSettings, comparable=True, work=_work)
