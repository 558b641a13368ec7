"""HYDRA (Sehwag et al. 2020): importance scores found by optimising them under the robust loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustprune.core.errors import DivergedError
from robustprune.core.operations import FORWARD, INPUT_GRADIENT, STATISTICS, AttackWork, Work, training
from robustprune.core.settings import Settings
from robustprune.methods.entry import InitializerEntry
from robustprune.methods.gates import GatedPasses
from robustprune.methods.problem import Problem
from robustprune.structures.group_scores import group_scores
from robustprune.structures.groups import CoupledGroup, Layer
from robustprune.structures.masks import Masks
from robustprune.structures.removal import kept_decisions
from robustprune.structures.spread import spread
from robustprune.task import first_images
from robustprune.training.epochs import Epochs
from robustprune.training.objective import Objective
from robustprune.training.state import TrainingState


class HydraSettings(Settings):
    """SGD with momentum and a cosine schedule over the scores alone."""

    epochs: int = Field(default=1, ge=0, description="passes over the images used")
    images: int | None = Field(default=None, ge=1, description="training images used; all by default")
    batch_size: int = Field(default=16, ge=1, description="images per step")
    learning_rate: float = Field(default=0.1, gt=0, description="length of the first step, which falls to 0")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="share of the last step in the next")
    weight_decay: float = Field(default=1e-4, ge=0, description="share of each score in its gradient")


def hydra(network: nn.Module, problem: Problem, settings: HydraSettings) -> dict[str, Tensor]:
    """Return importance |s| per layer, of the shape of its weights, for one structure, scope and ratio.

    Each weight has a score, or each channel where whole ones are pruned; see `methods.gates`. The weights stay fixed;
    each step draws the masks anew from the scores, which cover what would be pruned for the scores of the moment.

    Raises:
        DivergedError: the robust loss became NaN or infinite.
    """
    images = first_images(problem.task, settings.images)
    steps_per_epoch = problem.task.steps(images, settings.batch_size)
    search = Search(network, problem, settings, steps=settings.epochs * steps_per_epoch)
    state = TrainingState(
        tensors=search.tensors, optimizer=search.optimizer, generator=problem.generator, progress=problem.progress
    )
    finished, _ = state.resume()
    search.schedule.last_epoch = finished * steps_per_epoch
    epochs = Epochs(problem.progress, epochs=settings.epochs, steps_per_epoch=steps_per_epoch, done=finished)
    for epoch in range(finished + 1, settings.epochs + 1):
        batches = problem.task.batches(settings.batch_size, images=images, generator=problem.generator)
        for taken, (inputs, targets) in enumerate(batches, start=1):
            epochs.step(epoch, taken, search.step(inputs, targets))
        state.save(epoch)
    return search.importance()


class Search:
    """Scores on their way: the network that they are of, whose weights stay fixed, and what moves them."""

    def __init__(self, network: nn.Module, problem: Problem, settings: HydraSettings, *, steps: int) -> None:
        """Begin with the initial scores of a copy of the network, and a schedule of so many steps."""
        network = copy.deepcopy(network)
        self._groups = problem.groups(network)
        self._network = network.requires_grad_(False).train()
        self._problem = problem
        layers = problem.layers(network, self._groups)
        self._scores: _WeightScores | _ChannelScores = (
            _ChannelScores(network, layers, self._groups) if problem.is_coupled else _WeightScores(network, layers)
        )
        self.optimizer = torch.optim.SGD(
            list(self._scores.tensors.values()),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=max(1, steps))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What steps change, by name: the scores, and batch norm's statistics."""
        return {**self._scores.tensors, **dict(self._network.named_buffers())}

    def step(self, inputs: Tensor, targets: Any) -> Tensor:
        """Move the scores once, by a batch; return the robust loss of what they kept.

        Raises:
            DivergedError: it is NaN or infinite.
        """
        masks = self._problem.masks(self._scores.importance(), self._groups)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._scores.loss(self._problem.objective, inputs, targets, masks)
        if not loss.isfinite():
            raise DivergedError(f"the robust loss became {loss.item()} while hydra optimised its scores")
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss

    def importance(self) -> dict[str, Tensor]:
        """Return |s| per layer, of the shape of its weights."""
        return {name: score.contiguous() for name, score in self._scores.importance().items()}


class _WeightScores:
    """A score s per weight, in the weight's shape."""

    def __init__(self, network: nn.Module, layers: Mapping[str, Layer]) -> None:
        self._network, self._layers = network, layers
        self.tensors = {name: initial_scores(layer).requires_grad_() for name, layer in layers.items()}

    def importance(self) -> dict[str, Tensor]:
        return {name: score.detach().abs() for name, score in self.tensors.items()}

    def loss(self, objective: Objective, inputs: Tensor, targets: Any, masks: Masks) -> Tensor:
        weights = {
            f"{name}.weight": masked(layer.weight, self.tensors[name], masks[name])
            for name, layer in self._layers.items()
        }
        return objective(self._network, inputs, targets, weights)


class _ChannelScores:
    """A score s per channel, of every group (decisions,); first what its filters' weights would have on average."""

    def __init__(self, network: nn.Module, layers: Mapping[str, Layer], groups: Sequence[CoupledGroup]) -> None:
        self._layers, self._groups = layers, groups
        self._passes = GatedPasses(network, groups)
        weights = {name: initial_scores(layer).abs() for name, layer in layers.items()}
        first = group_scores(weights, groups, comparable=True)
        self.tensors = {f"group.{index}": scores.requires_grad_() for index, scores in enumerate(first)}

    def importance(self) -> dict[str, Tensor]:
        return spread([score.detach().abs() for score in self.tensors.values()], self._groups, self._layers)

    def loss(self, objective: Objective, inputs: Tensor, targets: Any, masks: Masks) -> Tensor:
        kept = kept_decisions(self._groups, masks)
        gates = [
            straight_through(score, stays.to(score.device))
            for score, stays in zip(self.tensors.values(), kept, strict=True)
        ]
        return self._passes.loss(objective, inputs, targets, gates, kept)


def initial_scores(layer: Layer) -> Tensor:
    """Return s = √(6 / fan_in) · W / max|W|, laid out in memory as W is."""
    weight = layer.weight.detach()
    fan_in = weight[0].numel()
    return math.sqrt(6 / fan_in) * weight / weight.abs().max()


def masked(weight: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Return W ⊙ m, with the straight-through gradient ∂L/∂s = sign(s) · W · ∂L/∂(W ⊙ m)."""
    found: Tensor = _Masked.apply(weight, scores, mask)
    return found


class _Masked(torch.autograd.Function):
    """What weight · straight_through(scores, mask) is, in fewer passes over memory."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scores)
        return weight * mask

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        weight, scores = ctx.saved_tensors
        return None, gradient * weight * scores.sign(), None


def straight_through(scores: Tensor, mask: Tensor) -> Tensor:
    """Return m as numbers, with the gradient of |s| in place of its own."""
    magnitude = scores.abs()
    return mask + (magnitude - magnitude.detach())


def _work(
    settings: HydraSettings,
    *,
    forward: float,
    images: int,
    attack: AttackWork | None,
    clean_too: bool = True,
    left: float = 1.0,
) -> Work:
    """Scores of weights are trained as weights are; those of channels with less work, see `methods.gates`."""
    used, epochs = min(settings.images or images, images), settings.epochs
    whole = training("hydra's scores", forward=forward, images=used, epochs=epochs, attack=attack, clean_too=clean_too)
    if left == 1:
        return whole
    attacking = 0 if attack is None else left**2 * (attack.passes + STATISTICS)
    learning = (1 + (attack is not None and clean_too)) * left * (FORWARD + INPUT_GRADIENT)
    return whole._replace(operations=float(epochs) * used * (attacking + learning) * forward)


HYDRA = InitializerEntry(
    score=hydra,
    settings=HydraSettings,
    per_structure=True,
    per_ratio=True,
    comparable=True,
    work=_work,
    leaves_out=True,
)
