"""Convolutions of training on a CPU: those of a network are carried out in the fastest of several ways meanwhile.

All are exact but for rounding. PyTorch's own way, oneDNN's, remains where it is the fastest, on other devices, and in
other precisions than float32.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from robustprune.training.convolutions import unrolled
from robustprune.training.convolutions.choice import Shape
from robustprune.training.convolutions.function import Convolution, Filters, Ways, ways_of

__all__ = ["FastConvolutions"]

_PLAIN = (3, 3), (1, 1), (1, 1)
_ways = functools.lru_cache(4096)(ways_of)


class FastConvolutions(TorchFunctionMode):
    """A context in which `torch.conv2d` may take another way. Weights without gradient stay as they are meanwhile."""

    def __init__(self) -> None:
        """Begin without transformed filters, which are kept for as long as the context is."""
        super().__init__()
        self._filters = Filters()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Convolve in the way that suits, or do what was asked for."""
        if func is torch.conv2d and not kwargs and not torch.compiler.is_compiling():
            found = self._convolved(*args)
            if found is not None:
                return found
        return func(*args, **(kwargs or {}))

    def _convolved(
        self,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor | None:
        """Return the convolution, or None where PyTorch's way is the best."""
        stride, padding, dilation = (_pair(each) for each in (stride, padding, dilation))
        if padding is None or groups != 1 or dilation != (1, 1) or not _fits(images) or not _fits(weight):
            return None
        last = torch.channels_last
        if not weight.is_contiguous(memory_format=last):
            return None
        if weight.is_contiguous() and images.is_contiguous() and not images.is_contiguous(memory_format=last):
            return None  # filters of one pixel are of both formats, and images of the other one go on as such
        size = (weight.shape[2], weight.shape[3])
        height, width = unrolled.positions(images.shape[2:], size=size, stride=stride, padding=padding)
        shape = Shape(
            images=len(images),
            channels=weight.shape[1],
            outputs=weight.shape[0],
            size=size,
            height=height,
            width=width,
            plain=(size, stride, padding) == _PLAIN,
        )
        ways = _ways(shape, uses=self._filters.uses(weight))
        if ways == Ways("direct", "direct", "direct"):
            return None
        found: Tensor = Convolution.apply(images, weight, bias, stride, padding, ways, self._filters)
        return found


def _pair(value: Any) -> tuple[int, int] | None:
    if isinstance(value, int):
        return value, value
    return None if isinstance(value, str) else (value * 2 if len(value) == 1 else tuple(value))


def _fits(tensor: Tensor) -> bool:
    return (
        tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and tensor.dim() == 4
        and tensor.layout == torch.strided
        and not torch.is_autocast_enabled("cpu")
    )
