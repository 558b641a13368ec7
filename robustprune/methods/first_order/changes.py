"""By how much the loss of a batch would change, to first order, if a weight were scaled: w · ∂L/∂w."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from robustprune.core.errors import DivergedError
from robustprune.methods.problem import Problem


def changes(
    network: nn.Module, problem: Problem, *, images: int, batch_size: int, method: str
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield, for every batch, how many images it has, and w · ∂L/∂w of each layer's weights, in their shape.

    Args:
        network: left as it is; batch norm is held still.
        problem: whose objective L is.
        images: how many of the first ones, once each.
        batch_size: of all but the last batch.
        method: that asks, for messages.

    Raises:
        DivergedError: the loss is NaN or infinite.
    """
    network = copy.deepcopy(network).eval().requires_grad_(True)
    layers = problem.layers(network)
    weights = [layer.weight for layer in layers.values()]
    for inputs, targets in problem.task.batches(batch_size, images=images):
        loss = problem.objective(network, inputs, targets)
        if not loss.isfinite():
            raise DivergedError(f"the loss became {loss.item()} while {method} took its gradient")
        # A layer that no output reads has no gradient, and is worth nothing.
        gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        yield (
            len(inputs),
            {
                name: weight.detach() * gradient
                for name, weight, gradient in zip(layers, weights, gradients, strict=True)
            },
        )
