"""Hold a network still while it is attacked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """Yield `network` with parameters that need no gradient and every layer in eval mode; restore both after.

    Backward passes then compute gradients of the input alone, and batch-norm statistics neither move nor mix the
    images of a batch.
    """
    training = {module: module.training for module in network.modules()}
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.eval()
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield network
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        for module, mode in training.items():
            module.training = mode
