"""How the arithmetic of training is carried out: faster ways, which change results in their last digits or more."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from robustprune.core.settings import Settings


class Compute(Settings):
    """By default what is fastest without a loss of precision; `benchmarks.adversarial_training` measures the rest."""

    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of training and its attacks; models are measured in float32 whatever this is"
    )
    channels_last: bool = Field(default=True, description="memory format of images and weights")
    compile: bool = Field(default=False, description="torch.compile the passes of training and its attacks")

    def exactly(self) -> Compute:
        """Return the way to measure a model that was trained in this way."""
        return Compute(channels_last=self.channels_last)

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def narrowed(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return tensors as the passes will read them, so that several passes convert them once."""
        if self.precision == "float32":
            return tensors
        return {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}

    def outputs(self, network: nn.Module, tensors: Mapping[str, Tensor], images: Tensor) -> list[Tensor]:
        """Return the outputs of `network` in float32.

        Args:
            network: from a tensor to a sequence of tensors.
            tensors: parameters and buffers to use in place of the network's own, by name.
            images: (N, C, H, W).
        """
        call = _compiled_call() if self.compile else functional_call
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            outputs: Sequence[Tensor] = call(network, dict(tensors), (images,))
        return [output.float() for output in outputs]


@functools.cache
def _compiled_call() -> Callable[..., Sequence[Tensor]]:
    """Return `functional_call`, compiled once per network, mode and shape. To import the compiler takes seconds."""
    return torch.compile(functional_call)
