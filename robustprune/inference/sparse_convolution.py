"""Convolutions that compute nothing for a weight of zero, as modules; when they pay is found out elsewhere.

Both kinds see an image as padded planes, flat, in which a tap's input lies at the same distance from its output
everywhere. With a stride there is a plane for each phase of it.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from robustprune.inference.compact_layers import BorderedConvolution

_COST_OF_A_FILTER = 4
"""What it takes to write a filter's output, in weights."""


class SparseConvolution(nn.Module):
    """A convolution, its bias and its activation, in time that follows from the number of its weights.

    Any stride, zero padding and groups. `zeros` weights are left out; the others are copied, for use where they are:
    as a module it has no parameters, and stays on its device.
    """

    def __init__(self, layer: nn.Module) -> None:
        """`layer` is a convolution of a compacted detector (`is_convolution`)."""
        super().__init__()
        conv, self.activation, self._bias, self._border = _parts(layer)
        assert isinstance(conv.padding, tuple)
        self._kernel_size, self._stride, self._padding = conv.kernel_size, conv.stride[0], conv.padding[0]
        assert conv.stride == (self._stride, self._stride)
        assert conv.padding == (self._padding, self._padding)
        weight = conv.weight.detach()
        self._filter, channel, self._row, self._column = weight.nonzero().T
        self._input = self._filter // (conv.out_channels // conv.groups) * weight.shape[1] + channel
        self._values = weight[self._filter, channel, self._row, self._column]
        self.zeros = weight.numel() - len(self._values)
        self._inputs = conv.in_channels
        self._settled: tuple[_Shape, Any] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, filters, H', W'), contiguous and without gradient."""
        # One name for both: other threads may come with images of another size.
        settled = self._settled
        if settled is None or settled[0].image != x.shape[2:]:
            shape = self._shape(*x.shape[2:])
            settled = self._settled = shape, self._prepared(shape)
        return self._convolved(self._planes(x.detach()).flatten(2), *settled)

    def _prepared(self, shape: _Shape) -> Any:
        """Return what need not be done again for images of the same size."""
        raise NotImplementedError

    def _convolved(self, planes: Tensor, shape: _Shape, prepared: Any) -> Tensor:
        """(N, inputs · stride², rows · columns) -> (N, filters, H', W')."""
        raise NotImplementedError

    def _planes(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, inputs · stride², rows, columns), contiguous."""
        before, step = self._padding, self._stride
        height, width = x.shape[2:]
        if not before and step == 1:
            return x.contiguous()
        rows, columns = (_padded(side, before, step) for side in (height, width))
        padded = x.new_zeros(*x.shape[:2], rows, columns)
        padded[:, :, before : before + height, before : before + width] = x
        return padded if step == 1 else nn.functional.pixel_unshuffle(padded, step)

    def _shape(self, height: int, width: int) -> _Shape:
        step = self._stride
        rows, columns = (_padded(side, self._padding, step) // step for side in (height, width))
        ones = self._bias.new_ones(1, 1, height, width)
        return _Shape(
            image=torch.Size((height, width)),
            width=columns,
            plane_size=rows * columns,
            plane=(self._input * step + self._row % step) * step + self._column % step,
            shift=self._row // step * columns + self._column // step,
            bias=nn.functional.conv2d(ones, self._border, self._bias, step, self._padding)[0],
        )


class _Shape(NamedTuple):
    """What follows from the size of an image.

    Attributes:
        image: its height and width.
        width: of a plane.
        plane_size: pixels of a plane.
        plane: (weights,), the plane each reads.
        shift: (weights,), where in it the input of output pixel 0 lies; that of pixel (y, x) is y · width + x further.
        bias: (filters, H', W').
    """

    image: torch.Size
    width: int
    plane_size: int
    plane: Tensor
    shift: Tensor
    bias: Tensor


class CpuSparseConvolution(SparseConvolution):
    """On a CPU, by our own kernel; it can take the largest of every 2 × 2 pixels besides."""

    def __init__(self, layer: nn.Module, *, pool: bool = False) -> None:
        """`pool` is for layers whose output has even sides."""
        super().__init__(layer)
        slope = _slope(self.activation)
        # What is no leaky ReLU may not be monotonic, and cannot wait until after the pool.
        self._slope, self._pool = np.float32(1 if slope is None else slope), pool and slope is not None
        self._after = nn.Sequential(self.activation, nn.MaxPool2d(2) if pool else nn.Identity())
        self._all_done = slope is not None
        counts = self._filter.bincount(minlength=len(self._bias))
        self._starts = nn.functional.pad(counts.cumsum(0), (1, 0)).numpy()

    def _prepared(self, shape: _Shape) -> Callable[..., None]:
        from robustprune.inference.sparse_kernel import convolve  # its compiler takes half a second to import

        # Few rows differ, those at the border.
        rows, kinds = shape.bias.unique(dim=1, return_inverse=True)
        return partial(
            convolve,
            starts=self._starts,
            offsets=(shape.plane * shape.plane_size + shape.shift).numpy(),
            values=self._values.numpy(),
            bias=nn.functional.pad(rows, (0, shape.width - rows.shape[2])).numpy(),
            kinds=kinds.numpy(),
            slope=self._slope,
            pool=self._pool,
        )

    def _convolved(self, planes: Tensor, shape: _Shape, prepared: Callable[..., None]) -> Tensor:
        filters, height, width = shape.bias.shape
        if self._pool:
            assert height % 2 == width % 2 == 0
            height, width = height // 2, width // 2
        output = planes.new_empty(len(planes), filters, height, width)
        for image, result in zip(planes.flatten(1).numpy(), output.numpy(), strict=True):
            self._by_threads(partial(prepared, planes=image, output=result))
        if self._all_done:
            return output
        finished: Tensor = self._after(output)
        return finished

    def _by_threads(self, convolved: Callable[..., None]) -> None:
        """Call a function with ranges of filters, one for each of PyTorch's threads, that take equally long."""
        threads = torch.get_num_threads()
        if threads == 1:
            convolved(first=0, last=len(self._bias))
            return
        work = self._starts + _COST_OF_A_FILTER * np.arange(len(self._starts))
        edges = np.searchsorted(work, np.linspace(0, work[-1], threads + 1)).tolist()
        jobs = [
            _workers(threads).submit(convolved, first=first, last=last)
            for first, last in itertools.pairwise(edges)
            if first < last
        ]
        for job in jobs:
            job.result()


class CsrConvolution(SparseConvolution):
    """On any device, by PyTorch's products of a sparse and a dense matrix: one per tap, its matrix in CSR format."""

    def _prepared(self, shape: _Shape) -> list[tuple[int, Tensor]]:
        size = len(self._bias), self._inputs * self._stride**2
        return [
            (int(shift), _csr(self._filter[at], shape.plane[at], self._values[at], size))
            for shift in shape.shift.unique()
            for at in [shape.shift == shift]
        ]

    def _convolved(self, planes: Tensor, shape: _Shape, prepared: list[tuple[int, Tensor]]) -> Tensor:
        filters, height, width = shape.bias.shape
        pixels = (height - 1) * shape.width + width
        total = planes.new_zeros(len(planes), filters, height * shape.width)
        for image, result in zip(planes, total, strict=True):
            for shift, matrix in prepared:
                result[:, :pixels] += matrix @ image[:, shift : shift + pixels]
        output = total.view(len(planes), filters, height, shape.width)[..., :width] + shape.bias
        activated: Tensor = self.activation(output)
        return activated


@functools.cache
def _workers(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def is_convolution(layer: nn.Module) -> bool:
    """Whether a layer of a compacted detector is a convolution with its bias and activation."""
    return isinstance(layer, BorderedConvolution) or (
        isinstance(layer, nn.Sequential) and isinstance(layer[0], nn.Conv2d)
    )


def takes(layer: nn.Module) -> bool:
    """Whether a layer (`is_convolution`) is one that `SparseConvolution` computes."""
    conv = _parts(layer)[0]
    sides = conv.kernel_size, conv.stride, conv.padding, conv.dilation
    return (
        conv.padding_mode == "zeros"
        and conv.weight.dtype == torch.float32
        and all(isinstance(each, tuple) and len(set(each)) == 1 for each in sides[1:])
        and conv.dilation == (1, 1)
    )


def _parts(layer: nn.Module) -> tuple[nn.Conv2d, nn.Module, Tensor, Tensor]:
    """Convolution, activation, bias, and the taps that read a constant which ends at the border."""
    if isinstance(layer, BorderedConvolution):
        return layer.conv, layer.activation, layer.bias.detach().clone(), layer.taps.detach().clone()
    assert isinstance(layer, nn.Sequential)
    conv, activation = layer
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    return conv, activation, conv.bias.detach().clone(), conv.weight.new_zeros(conv.out_channels, 1, *conv.kernel_size)


def _padded(side: int, padding: int, stride: int) -> int:
    """Side of an image with its padding, and more of it up to a multiple of the stride."""
    return -(-(side + 2 * padding) // stride) * stride


def _csr(rows: Tensor, columns: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        # That the format is in beta.
        warnings.simplefilter("ignore", UserWarning)
        places = torch.stack([rows, columns])
        return torch.sparse_coo_tensor(places, values, size, check_invariants=False).to_sparse_csr()


def _slope(activation: nn.Module) -> float | None:
    """The slope of an activation that is a leaky ReLU, or none at all."""
    if isinstance(activation, nn.LeakyReLU):
        return activation.negative_slope
    return 1.0 if isinstance(activation, nn.Identity) else None
