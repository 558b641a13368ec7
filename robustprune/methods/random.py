"""Scores that know nothing: the floor that every method has to be above."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from robustprune.core.operations import Work
from robustprune.methods.entry import InitializerEntry, NoSettings
from robustprune.methods.problem import Problem
from robustprune.structures.spread import spread


def random(network: nn.Module, problem: Problem, settings: NoSettings) -> dict[str, Tensor]:
    """Return scores drawn evenly from [0, 1): one per weight, or one per channel where whole channels are pruned."""

    def drawn(*shape: int) -> Tensor:
        return torch.rand(shape, generator=problem.generator)

    if not problem.is_coupled:
        return {name: drawn(*layer.weight.shape) for name, layer in problem.layers(network).items()}
    network = copy.deepcopy(network)
    groups = problem.groups(network)
    return spread([drawn(group.decisions) for group in groups], groups, problem.layers(network, groups))


def _work(settings: NoSettings, **_: object) -> Work:
    return Work("random scores", 0.0)


RANDOM = InitializerEntry(
    score=random, per_structure=True, comparable=True, sees_images=False, attacks=False, work=_work
)
