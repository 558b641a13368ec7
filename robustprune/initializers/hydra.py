"""HYDRA (Sehwag et al. 2020): importance scores found by optimising them under the robust loss."""

from __future__ import annotations

import copy
import math

import torch
from pydantic import Field
from torch import Tensor, nn

from robustprune.attacks import AttackSettings
from robustprune.darknet import Detector
from robustprune.darknet.couplings import couplings
from robustprune.initializers.problem import Problem
from robustprune.settings import Settings
from robustprune.training import DivergedError, batches
from robustprune.training_state import TrainingState
from robustprune.workload import Workload, training


class HydraSettings(Settings):
    """SGD with momentum and a cosine schedule over the scores alone."""

    epochs: int = Field(default=1, ge=0)
    images: int | None = Field(default=None, ge=1, description="training images used; all by default")
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)


def hydra(detector: Detector, problem: Problem, settings: HydraSettings) -> dict[str, Tensor]:
    """Return importance |s| per prunable layer, of the shape of its weights, for one structure and ratio.

    The weights stay fixed; each step draws the masks anew from the scores.

    Raises:
        DivergedError: the robust loss became NaN or infinite.
    """
    detector = copy.deepcopy(detector).requires_grad_(False).train()
    layers = problem.layers(detector)
    groups = couplings(detector, layers)
    scores = {name: initial_scores(layer).requires_grad_() for name, layer in layers.items()}
    optimizer = torch.optim.SGD(
        list(scores.values()),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    images_used = min(settings.images or len(problem.samples), len(problem.samples))
    steps_per_epoch = math.ceil(images_used / settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, settings.epochs * steps_per_epoch))
    state = TrainingState(
        # The attack sees the statistics of batch norm, which move though the weights stay fixed.
        tensors={**scores, **dict(detector.named_buffers())},
        optimizer=optimizer,
        generator=problem.generator,
        progress=problem.progress,
    )
    finished = state.resume()
    schedule.last_epoch = finished * steps_per_epoch
    device = next(detector.parameters()).device
    for epoch in range(finished + 1, settings.epochs + 1):
        for images, targets in batches(
            problem.samples,
            batch_size=settings.batch_size,
            flip=True,
            generator=problem.generator,
            device=device,
            count=images_used,
        ):
            masks = problem.masks({name: score.detach().abs() for name, score in scores.items()}, groups)
            weights = {
                f"{name}.weight": masked(layer.weight, scores[name], masks[name]) for name, layer in layers.items()
            }
            optimizer.zero_grad(set_to_none=True)
            loss = problem.objective(detector, images, targets, weights)
            if not loss.isfinite():
                raise DivergedError(f"the robust loss became {loss.item()} while hydra optimised its scores")
            loss.backward()
            optimizer.step()
            schedule.step()
        state.save(epoch)
    return {name: score.detach().abs() for name, score in scores.items()}


def hydra_work(settings: HydraSettings, *, forward: float, images: int, attack: AttackSettings) -> Workload:
    """Return the work of `hydra`: scores are trained as weights are."""
    used = min(settings.images or images, images)
    return training("hydra's scores", forward=forward, images=used, epochs=settings.epochs, attack=attack)


def initial_scores(layer: nn.Conv2d) -> Tensor:
    """Return s = √(6 / fan_in) · W / max|W|, in contiguous memory."""
    weight = layer.weight.detach()
    fan_in = weight[0].numel()
    return (math.sqrt(6 / fan_in) * weight / weight.abs().max()).contiguous()


def masked(weight: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Return W ⊙ m, with the straight-through gradient ∂L/∂s = sign(s) · W · ∂L/∂(W ⊙ m)."""
    magnitude = scores.abs()
    return weight * (mask + (magnitude - magnitude.detach()))
