"""HYDRA (Sehwag et al. 2020): importance scores found by optimising them under a loss, whatever the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from robustprune.attacks import AttackSettings
from robustprune.core.errors import DivergedError
from robustprune.core.operations import Workload, training
from robustprune.core.progress import Progress
from robustprune.core.settings import Settings
from robustprune.structures.masks import Masks
from robustprune.training.state import TrainingState


class HydraSettings(Settings):
    """SGD with momentum and a cosine schedule over the scores alone."""

    epochs: int = Field(default=1, ge=0)
    images: int | None = Field(default=None, ge=1, description="training images used; all by default")
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)


def hydra_work(settings: HydraSettings, *, forward: float, images: int, attack: AttackSettings | None) -> Workload:
    """Return the work of HYDRA: scores are trained as weights are."""
    used = min(settings.images or images, images)
    return training("hydra's scores", forward=forward, images=used, epochs=settings.epochs, attack=attack)


def optimised_scores(
    network: nn.Module,
    layers: Mapping[str, nn.Conv2d | nn.Linear],
    *,
    settings: HydraSettings,
    steps_per_epoch: int,
    batches: Callable[[], Iterable[tuple[Tensor, Tensor]]],
    masks: Callable[[Mapping[str, Tensor]], Masks],
    loss: Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor],
    generator: torch.Generator,
    progress: Progress,
) -> dict[str, Tensor]:
    """Return importance |s| per layer, of the shape of its weights.

    The weights stay fixed; each step draws the masks anew from the scores.

    Args:
        network: its batch norm's statistics move.
        layers: of `network`, by name.
        settings: how to optimise.
        steps_per_epoch: how many batches there are.
        batches: draws the batches of an epoch, inputs and targets, from `generator`.
        masks: for importance per layer, which weights take part in the next step.
        loss: of a batch, with weights to use in place of the network's own, by name.
        generator: on the CPU.
        progress: is offered the state after every epoch; goes on from the one it has, to the same bits.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    scores = {name: initial_scores(layer).requires_grad_() for name, layer in layers.items()}
    optimizer = torch.optim.SGD(
        list(scores.values()),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, settings.epochs * steps_per_epoch))
    state = TrainingState(
        # The attack sees the statistics of batch norm, which move though the weights stay fixed.
        tensors={**scores, **dict(network.named_buffers())},
        optimizer=optimizer,
        generator=generator,
        progress=progress,
    )
    finished = state.resume()
    schedule.last_epoch = finished * steps_per_epoch
    for epoch in range(finished + 1, settings.epochs + 1):
        for inputs, targets in batches():
            drawn = masks({name: score.detach().abs() for name, score in scores.items()})
            weights = {
                f"{name}.weight": masked(layer.weight, scores[name], drawn[name]) for name, layer in layers.items()
            }
            optimizer.zero_grad(set_to_none=True)
            value = loss(inputs, targets, weights)
            if not value.isfinite():
                raise DivergedError(f"the robust loss became {value.item()} while hydra optimised its scores")
            value.backward()
            optimizer.step()
            schedule.step()
        state.save(epoch)
    return {name: score.detach().abs() for name, score in scores.items()}


def initial_scores(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """Return s = √(6 / fan_in) · W / max|W|, in contiguous memory."""
    weight = layer.weight.detach()
    fan_in = weight[0].numel()
    return (math.sqrt(6 / fan_in) * weight / weight.abs().max()).contiguous()


def masked(weight: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Return W ⊙ m, with the straight-through gradient ∂L/∂s = sign(s) · W · ∂L/∂(W ⊙ m)."""
    magnitude = scores.abs()
    return weight * (mask + (magnitude - magnitude.detach()))
