"""A third task, that knows neither images nor classes: numbers from vectors, under squared error."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from robustprune.attacks import frozen
from robustprune.core.arrays import Arrays
from robustprune.core.errors import InputError
from robustprune.structures import CoupledGroup, Layer
from robustprune.structures.dependency_graph import dependency_groups
from robustprune.task import Batch, Explained
from robustprune.training import Training


class GradientDescent(Training):
    """Steps of one length along the gradient, with momentum."""

    momentum: float = 0.0

    def optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            parameters, lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay
        )

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        return self.learning_rate


@dataclass(frozen=True, kw_only=True)
class LinearRegression:
    """Tell numbers (N, K) from vectors (N, D) in [0, 1], by a linear layer or by two with a ReLU between them.

    Attributes:
        inputs: (N, D).
        targets: (N, K).
        hidden: how many hidden units there are; without any, the network is linear.
    """

    inputs: Tensor
    targets: Tensor
    hidden: int = 0

    # Networks

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def fresh(self, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._built()

    def restored(self, arrays: Arrays) -> nn.Module:
        network = self._built()
        network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        return network.eval()

    def prunable_layers(self, network: nn.Module) -> dict[str, Layer]:
        return {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}

    def coupled_groups(self, network: nn.Module) -> list[CoupledGroup]:
        return dependency_groups(network, torch.zeros(1, self.inputs.shape[1]))

    def narrowed(self, network: nn.Module, held: Mapping[str, Tensor]) -> None:
        """Nothing is trained in its place."""

    # Data

    @property
    def images(self) -> int:
        return len(self.inputs)

    def steps(self, images: int, batch_size: int) -> int:
        return -(-images // batch_size)

    def batches(
        self,
        batch_size: int,
        *,
        images: int | None = None,
        generator: torch.Generator | None = None,
        augmented: bool = True,
    ) -> Iterator[Batch]:
        count = self.images if images is None else images
        order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        for chosen in order.split(batch_size):
            yield Batch(self.inputs[chosen], self.targets[chosen])

    # What is learnt

    def outputs(self, network: nn.Module, inputs: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        answers: Tensor = functional_call(network, dict(weights), (inputs,))
        return answers

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.losses(outputs, targets).mean()

    def halves(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        first, second = outputs.chunk(2)
        return first, second

    # What an attack sees

    @contextmanager
    def held_still(self, network: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[Callable[[Tensor], Tensor]]:
        with frozen(network):
            yield lambda inputs: self.outputs(network, inputs, weights)

    def attack_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.losses(outputs, targets).sum()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().sum(dim=1)

    @property
    def has_logits(self) -> bool:
        return False

    # What DeepLIFT explains

    def explained(self, network: nn.Module) -> Explained:
        if self.targets.shape[1] > 1:
            raise InputError(f"found {self.targets.shape[1]} numbers to explain, expected one")
        return Explained(copy.deepcopy(network).eval().requires_grad_(False), lambda answers, _: answers[:, 0])

    # How well it is learnt

    def measure(self, network: nn.Module, *, seed: int) -> dict[str, Any]:
        with torch.no_grad():
            return {"error": float(self.loss(network(self.inputs), self.targets))}

    def _built(self) -> nn.Module:
        inputs, outputs = self.inputs.shape[1], self.targets.shape[1]
        if not self.hidden:
            return nn.Sequential(nn.Linear(inputs, outputs))
        return nn.Sequential(nn.Linear(inputs, self.hidden), nn.ReLU(), nn.Linear(self.hidden, outputs))
