"""A task whose network is linear, so that what a method computes can be written out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from robustprune.attacks import Attack
from robustprune.methods import Problem
from robustprune.structures import CoupledGroup, Layer
from robustprune.task import Batch, Task
from robustprune.training import Objective

INPUTS, OUTPUTS, IMAGES = 4, 3, 5


def network(seed: int = 0) -> nn.Sequential:
    """Return a network of one linear layer, called `0`."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(INPUTS, OUTPUTS, bias=False)).double()


class LinearTask:
    """Bring outputs near to targets, or by default along them: the loss is −Σ outputs · targets / N."""

    device = torch.device("cpu")
    images = IMAGES

    def __init__(self, *, squared: bool = False) -> None:
        generator = torch.Generator().manual_seed(1)
        self.squared = squared
        self.inputs = torch.rand(IMAGES, INPUTS, dtype=torch.float64, generator=generator)
        self.targets = torch.rand(IMAGES, OUTPUTS, dtype=torch.float64, generator=generator)

    def prunable_layers(self, network: nn.Module) -> dict[str, Layer]:
        return {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}

    def coupled_groups(self, network: nn.Module) -> list[CoupledGroup]:
        raise NotImplementedError

    def narrowed(self, network: nn.Module, held: Mapping[str, Tensor]) -> None:
        """Nothing is trained in its place."""

    def steps(self, images: int, batch_size: int) -> int:
        return -(-images // batch_size)

    def batches(self, batch_size: int, *, images: int | None = None, **_: object) -> Iterator[Batch]:
        for inputs, targets in zip(
            self.inputs[:images].split(batch_size), self.targets[:images].split(batch_size), strict=True
        ):
            yield Batch(inputs, targets)

    def outputs(self, network: nn.Module, inputs: Tensor, weights: Mapping[str, Tensor]) -> Any:
        return functional_call(network, dict(weights), (inputs,))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        each = (outputs - targets).square() if self.squared else -outputs * targets
        return each.sum() / len(outputs)

    def halves(self, outputs: Tensor) -> tuple[Any, Any]:
        first, second = outputs.chunk(2)
        return first, second

    attack_loss = loss

    @contextmanager
    def held_still(self, network: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[Callable[[Tensor], Any]]:
        yield lambda inputs: functional_call(network, dict(weights), (inputs,))


def problem(task: LinearTask, *, attack: Attack | None = None, seed: int = 0) -> Problem:
    """Return the question of what the task's weights are worth."""
    asked = cast(Task, task)
    return Problem(
        task=asked,
        objective=Objective(task=asked, attack=attack, clean_too=True),
        generator=torch.Generator().manual_seed(seed),
    )
