"""What is learnt, and how well: all that a method, the training loop, an attack or an inference engine sees of a task.

A task is one problem: a sort of network, and images with targets. Methods are written once, against this protocol;
N methods and M tasks take N + M files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from robustprune.core.arrays import Arrays
from robustprune.structures.groups import CoupledGroup, Layer
from robustprune.structures.narrowing import Narrowed


class Batch(NamedTuple):
    """Some examples: inputs, (N, …), images in [0, 1] where there are attacks; and targets as the task's loss takes
    them, on the same device.
    """

    inputs: Tensor
    targets: Any


class Explained(NamedTuple):
    """What DeepLIFT explains: an answer of a network that it can follow.

    Attributes:
        network: a copy, whose layers have the names that they have in the network explained; see
            `methods.explaining.contributions.Explainer`.
        answer: from its outputs for N inputs, and their targets, to one value of each, (N,), linear in the outputs.
    """

    network: nn.Module
    answer: Callable[[Any, Any], Tensor]


class Task(Protocol):
    """A problem to learn. Whatever is a network here is one of the task's own."""

    @property
    def device(self) -> torch.device:
        """Where networks and batches are."""

    # Networks

    def fresh(self, seed: int) -> nn.Module:
        """Return a network before any training of ours: drawn from a seed, or with the weights given."""

    def restored(self, arrays: Arrays) -> nn.Module:
        """Return a network with the state that `arrays` hold, copied, in eval mode."""

    def prunable_layers(self, network: nn.Module) -> dict[str, Layer]:
        """Return the layers whose weights may be pruned, by name, in the network's order."""

    def coupled_groups(self, network: nn.Module) -> list[CoupledGroup]:
        """Return which of the prunable layers' filters come and go together; each occurs once.

        The network's parameters may come out requiring gradients.
        """

    def narrowed(self, network: nn.Module, held: Mapping[str, Tensor]) -> Narrowed | None:
        """Return the network without the channels that masks leave idle, to be trained in its place; None where there
        is no such network that training takes the same course with.

        Args:
            network: whose masked weights are zero; stays as it is.
            held: masks of whole filters, and of what departs with them, by name.
        """

    # Data

    @property
    def images(self) -> int:
        """How many examples there are to train on."""

    def steps(self, images: int, batch_size: int) -> int:
        """Return how many batches `batches` yields of so many examples."""

    def batches(
        self,
        batch_size: int,
        *,
        images: int | None = None,
        generator: torch.Generator | None = None,
        augmented: bool = True,
    ) -> Iterator[Batch]:
        """Yield examples to train on, once each.

        Args:
            batch_size: of all but the last batch.
            images: how many, the first ones; all by default.
            generator: on the CPU; shuffles them, and augments them. Without one they come in order, as they are.
            augmented: change images at random, where there is a generator.
        """

    # What is learnt

    def outputs(self, network: nn.Module, inputs: Tensor, weights: Mapping[str, Tensor]) -> Any:
        """Return what a network answers in the mode it is in, with `weights` in place of its own, by name."""

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the scalar loss of a batch, which training lowers."""

    def halves(self, outputs: Any) -> tuple[Any, Any]:
        """Part the outputs of a batch that has been put together of two of the same size."""

    # What an attack sees

    def held_still(
        self, network: nn.Module, weights: Mapping[str, Tensor]
    ) -> AbstractContextManager[Callable[[Tensor], Any]]:
        """Return the network as a function of inputs alone, in eval mode, for as long as the context is open.

        Backward passes compute gradients of the inputs alone, and batch norm's statistics neither move nor mix the
        images of a batch.
        """

    def attack_loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the scalar that attacks ascend."""

    def losses(self, outputs: Any, targets: Any) -> Tensor:
        """Return the loss of each example by itself, (N,)."""

    @property
    def has_logits(self) -> bool:
        """Whether outputs are logits, (N, classes), and targets labels, (N,)."""

    # What DeepLIFT explains

    def explained(self, network: nn.Module) -> Explained:
        """Return the answer to explain, of a copy of the network.

        Raises:
            InputError: the network computes what DeepLIFT cannot explain.
        """

    # How well it is learnt

    def measure(self, network: nn.Module, *, seed: int) -> Mapping[str, Any]:
        """Return columns of a row, and tables, on the images to test on; random numbers come from `seed`."""


def first_images(task: Task, asked: int | None) -> int:
    """Return how many examples a method uses that asks for so many, or for all."""
    return min(asked or task.images, task.images)
