"""DeepLIFT (Shrikumar et al. 2017) carried on to weights, as `contributions` tells; the task says what is explained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from robustprune.core.devices import in_full_precision
from robustprune.core.operations import FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, Work
from robustprune.core.settings import Settings
from robustprune.methods.entry import InitializerEntry
from robustprune.methods.explaining.contributions import Explainer
from robustprune.methods.first_order.mean_magnitude import mean_magnitude
from robustprune.methods.problem import Problem
from robustprune.task import Task, first_images


class DeepLiftSettings(Settings):
    """How many images are explained, against what, and how contributions become importance."""

    images: int | None = Field(default=64, ge=1, description="training images used; null for all")
    batch_size: int = Field(default=8, ge=1, description="images per micro-batch")
    reference: Literal["zeros", "mean"] = Field(
        default="mean", description="what images are compared with: black, or their own mean"
    )
    magnitude_of: Literal["batch", "image"] = Field(
        default="batch", description="|contribution| is averaged over micro-batches, or over images one by one"
    )
    normalise: Literal["none", "filter"] = Field(
        default="none", description="filter: every filter's importance has norm 1, so that none outweighs another"
    )


def deeplift(network: nn.Module, problem: Problem, settings: DeepLiftSettings) -> dict[str, Tensor]:
    """Return importance per layer: the mean over micro-batches of |contribution|, in the weights' shape.

    What is important depends on the reference; `benchmarks.scores` compares them.

    Raises:
        InputError: the network computes what DeepLIFT cannot explain.
    """
    task, layers = problem.task, list(problem.layers(network))
    images = first_images(task, settings.images)
    reference = torch.zeros((), device=task.device)
    if settings.reference == "mean":
        sums = [inputs.sum(dim=0) for inputs, _ in task.batches(settings.batch_size, images=images)]
        reference = torch.stack(sums).sum(dim=0) / images

    together = settings.batch_size if settings.magnitude_of == "batch" else 1
    with in_full_precision():
        explained = _Explained(
            task, network, reference, layers, shape=next(iter(task.batches(1, images=1))).inputs.shape
        )
        by_batch = (explained.contributions(*batch) for batch in task.batches(together, images=images))
        importance = mean_magnitude(by_batch, batches=-(-images // together), progress=problem.progress)
    return importance if settings.normalise == "none" else {name: _by_filter(own) for name, own in importance.items()}


def _by_filter(importance: Tensor) -> Tensor:
    """Return importance whose norm is 1 in every filter, and 0 in one of no importance."""
    norm: Tensor = importance.flatten(1).norm(dim=1).view(-1, *[1] * (importance.ndim - 1))
    return importance / norm.clamp(min=torch.finfo(importance.dtype).tiny)


def contributions(
    task: Task, network: nn.Module, inputs: Tensor, targets: object, *, reference: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Return the signed contribution of every weight of `layers` to F(inputs) − F(reference), summed over inputs.

    F is the answer that the task explains, at the targets of the inputs; the same for an input and its reference.

    Args:
        task: says what is explained.
        network: not changed; computed in its own precision.
        inputs: (N, …).
        targets: of the inputs.
        reference: broadcast against `inputs`.
        layers: names of convolutions and fully connected layers.

    Raises:
        InputError: the network computes what DeepLIFT cannot explain.
    """
    return _Explained(task, network, reference, layers, shape=inputs.shape).contributions(inputs, targets)


class _Explained:
    """A network, explained against one reference."""

    def __init__(
        self, task: Task, network: nn.Module, reference: Tensor, layers: Sequence[str], *, shape: torch.Size
    ) -> None:
        explained = task.explained(network)
        self._answer = explained.answer
        one = reference if reference.ndim == len(shape) else reference.expand(1, *shape[1:])
        own = {name: explained.network.get_submodule(name) for name in layers}
        self._explainer = Explainer(explained.network, one.contiguous(), layers=own)

    def contributions(self, inputs: Tensor, targets: object) -> dict[str, Tensor]:
        return self._explainer.contributions(inputs, lambda outputs: self._answer(outputs, targets))


def _check(task: Task, network: nn.Module) -> None:
    # What is looked at are its layers: one without values is copied in no time.
    values: dict[int, Any] = {id(each): nn.Parameter(each.to("meta")) for each in network.parameters()}
    values |= {id(each): each.to("meta") for each in network.buffers()}
    network = copy.deepcopy(network, values)
    task.explained(network)


def _work(settings: DeepLiftSettings, *, forward: float, images: int, **_: object) -> Work:
    """Nothing is attacked: forward and back through images, and forward through their reference."""
    used = min(settings.images or images, images)
    passes = FORWARD + INPUT_GRADIENT + WEIGHT_GRADIENT
    return Work(f"deeplift's scores: {used:,} images", (used * passes + FORWARD) * forward)


DEEPLIFT = InitializerEntry(
    score=deeplift, settings=DeepLiftSettings, comparable=True, attacks=False, work=_work, check=_check
)
