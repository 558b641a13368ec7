"""HYDRA (Sehwag et al. 2020): importance scores found by optimising them under the robust loss."""

from __future__ import annotations

import copy
import math

import torch
from pydantic import Field
from torch import Tensor, nn

from robustprune.core.errors import DivergedError
from robustprune.core.operations import AttackWork, Work, training
from robustprune.core.settings import Settings
from robustprune.methods.entry import InitializerEntry
from robustprune.methods.problem import Problem
from robustprune.structures.groups import Layer
from robustprune.task import first_images
from robustprune.training.state import TrainingState


class HydraSettings(Settings):
    """SGD with momentum and a cosine schedule over the scores alone."""

    epochs: int = Field(default=1, ge=0)
    images: int | None = Field(default=None, ge=1, description="training images used; all by default")
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)


def hydra(network: nn.Module, problem: Problem, settings: HydraSettings) -> dict[str, Tensor]:
    """Return importance |s| per layer, of the shape of its weights, for one structure, scope and ratio.

    The weights stay fixed, and batch norm's statistics move; each step draws the masks anew from the scores. Masks
    cover what would be pruned for the scores of the moment. Batch norm is not masked: of a pruned filter without it, no
    gradient would tell whether to take it back.

    Raises:
        DivergedError: the robust loss became NaN or infinite.
    """
    network = copy.deepcopy(network)
    groups = problem.groups(network)
    network.requires_grad_(False).train()
    layers = problem.layers(network, groups)
    images = first_images(problem.task, settings.images)
    steps_per_epoch = problem.task.steps(images, settings.batch_size)
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
        generator=problem.generator,
        progress=problem.progress,
    )
    finished = state.resume()
    schedule.last_epoch = finished * steps_per_epoch
    for epoch in range(finished + 1, settings.epochs + 1):
        for inputs, targets in problem.task.batches(settings.batch_size, images=images, generator=problem.generator):
            masks = problem.masks({name: score.detach().abs() for name, score in scores.items()}, groups)
            weights = {
                f"{name}.weight": masked(layer.weight, scores[name], masks[name]) for name, layer in layers.items()
            }
            optimizer.zero_grad(set_to_none=True)
            loss = problem.objective(network, inputs, targets, weights)
            if not loss.isfinite():
                raise DivergedError(f"the robust loss became {loss.item()} while hydra optimised its scores")
            loss.backward()
            optimizer.step()
            schedule.step()
        state.save(epoch)
    return {name: score.detach().abs() for name, score in scores.items()}


def initial_scores(layer: Layer) -> Tensor:
    """Return s = √(6 / fan_in) · W / max|W|, in contiguous memory."""
    weight = layer.weight.detach()
    fan_in = weight[0].numel()
    return (math.sqrt(6 / fan_in) * weight / weight.abs().max()).contiguous()


def masked(weight: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Return W ⊙ m, with the straight-through gradient ∂L/∂s = sign(s) · W · ∂L/∂(W ⊙ m)."""
    magnitude = scores.abs()
    return weight * (mask + (magnitude - magnitude.detach()))


def _work(
    settings: HydraSettings, *, forward: float, images: int, attack: AttackWork | None, clean_too: bool = True
) -> Work:
    """Scores are trained as weights are."""
    used, epochs = min(settings.images or images, images), settings.epochs
    return training("hydra's scores", forward=forward, images=used, epochs=epochs, attack=attack, clean_too=clean_too)


HYDRA = InitializerEntry(
    score=hydra, settings=HydraSettings, per_structure=True, per_ratio=True, comparable=True, work=_work
)
