"""Convolutions that compute nothing for a weight of zero, as modules; when they pay is found out elsewhere."""

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
from numpy.typing import NDArray
from torch import Tensor, nn

from robustprune.inference.compact_layers import BorderedConvolution


class SparseConvolution(nn.Module):
    """A convolution, its bias and its activation, in time that follows from the number of its weights.

    Any stride, zero padding, dilation and groups. `zeros` weights are left out; the others are copied, for use where
    they are: as a module it has no parameters, and stays on its device.
    """

    def __init__(self, layer: nn.Module) -> None:
        """`layer` is a convolution of a compacted network (`is_convolution`)."""
        super().__init__()
        conv, self.activation, self._bias, self._border = _parts(layer)
        assert isinstance(conv.padding, tuple)
        self._stride, self._padding, self._dilation = (_pair(s) for s in (conv.stride, conv.padding, conv.dilation))
        weight = conv.weight.detach()
        self._filter, channel, row, column = weight.nonzero().T
        self._input = self._filter // (conv.out_channels // conv.groups) * weight.shape[1] + channel
        self._values = weight[self._filter, channel, row, column]
        self._row, self._column = row * self._dilation[0], column * self._dilation[1]
        self.zeros = weight.numel() - len(self._values)
        self._inputs = conv.in_channels
        self._settled: tuple[Any, Any] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, filters, H', W'), contiguous and without gradient."""
        # One name for both: other threads may come with images of another size.
        settled, case = self._settled, self._case(x)
        if settled is None or settled[0] != case:
            settled = self._settled = case, self._prepared(x)
        return self._convolved(x.detach(), settled[1])

    def _case(self, x: Tensor) -> Any:
        """Return what, for other images, must be the same for them to need no other preparation."""
        return x.shape[2:]

    def _prepared(self, x: Tensor) -> Any:
        """Return what need not be done again for images of the same size."""
        raise NotImplementedError

    def _convolved(self, x: Tensor, prepared: Any) -> Tensor:
        """(N, inputs, H, W) -> (N, filters, H', W')."""
        raise NotImplementedError

    def _bias_map(self, height: int, width: int) -> Tensor:
        """(filters, H', W'), what the output starts with."""
        ones = self._bias.new_ones(1, 1, height, width)
        border, bias = self._border, self._bias
        return nn.functional.conv2d(ones, border, bias, self._stride, self._padding, self._dilation)[0]


class CpuSparseConvolution(SparseConvolution):
    """On a CPU, by our own kernel; it can take the largest of every 2 × 2 pixels besides."""

    def __init__(self, layer: nn.Module, *, pool: bool = False, shifted: bool = False) -> None:
        """`pool` is for layers whose output has even sides; `shifted` is told in `plan.make_plan`."""
        super().__init__(layer)
        slope = _slope(self.activation)
        # What is no leaky ReLU may not be monotonic, and cannot wait until after the pool.
        self._slope, self._pool = np.float32(1 if slope is None else slope), pool and slope is not None
        self._after = nn.Sequential(self.activation, nn.MaxPool2d(2) if pool else nn.Identity())
        self._all_done, self._shifted = slope is not None, shifted

    def _case(self, x: Tensor) -> Any:
        return x.shape[2:], torch.get_num_threads()

    def _prepared(self, x: Tensor) -> _Prepared:
        # Its compiler takes half a second to import.
        from robustprune.inference.sparse.kernel import convolve
        from robustprune.inference.sparse.plan import Taps, make_plan

        taps = Taps(*(part.numpy() for part in (self._filter, self._input, self._row, self._column, self._values)))
        bias = self._bias_map(*x.shape[2:]).numpy()
        threads = torch.get_num_threads()
        plan = make_plan(
            taps,
            bias,
            stride=self._stride,
            padding=self._padding,
            even=self._pool,
            shifted=self._shifted,
            threads=threads,
        )
        filters, height, width = bias.shape
        if self._pool:
            assert height % 2 == width % 2 == 0
            height, width = height // 2, width // 2
        edges = [plan.pieces * thread // threads for thread in range(threads + 1)]
        shares = [share for share in itertools.pairwise(edges) if share[0] < share[1]]
        return _Prepared((filters, height, width), partial(_called, convolve, plan, self._slope, self._pool), shares)

    def _convolved(self, x: Tensor, prepared: _Prepared) -> Tensor:
        output = x.new_empty(len(x), *prepared.output)
        images, results = x.contiguous().numpy(), output.numpy()
        if len(prepared.shares) == 1:
            for image, result in zip(images, results, strict=True):
                prepared.convolve(*prepared.shares[0], image, result)
        else:
            pool = _workers(len(prepared.shares))
            jobs = [
                pool.submit(prepared.convolve, *share, image, result)
                for image, result in zip(images, results, strict=True)
                for share in prepared.shares
            ]
            for job in jobs:
                job.result()
        if self._all_done:
            return output
        finished: Tensor = self._after(output)
        return finished


def layouts() -> tuple[bool, ...]:
    """Return which values of `shifted` are worth trying on this processor."""
    from robustprune.inference.sparse.kernel import LANES

    return (False, True) if LANES == 16 else (False,)


class _Prepared(NamedTuple):
    """What the kernel needs for images of one size.

    Attributes:
        output: the shape of one image's.
        convolve: first and last piece, image, output.
        shares: of the pieces, one for each thread.
    """

    output: tuple[int, int, int]
    convolve: Callable[[int, int, NDArray[Any], NDArray[Any]], None]
    shares: list[tuple[int, int]]


def _called(
    convolve: Callable[..., None],
    plan: tuple[Any, ...],
    slope: np.float32,
    pool: bool,
    first: int,
    last: int,
    image: NDArray[Any],
    output: NDArray[Any],
) -> None:
    convolve(image, *plan, slope, pool, first, last, output)


class CsrConvolution(SparseConvolution):
    """On any device, by PyTorch's products of a sparse and a dense matrix: one per tap, its matrix in CSR format.

    An image is padded planes, flat, in which a tap's input lies at the same distance from its output everywhere. With a
    stride there is a plane for each phase of it.
    """

    def _prepared(self, x: Tensor) -> _Matrices:
        (down, right), (_, columns) = self._stride, self._sides(x)
        width = columns // right
        plane = (self._input * down + self._row % down) * right + self._column % right
        shifts = self._row // down * width + self._column // right
        size = len(self._bias), self._inputs * down * right
        matrices = [
            (int(shift), _csr(self._filter[at], plane[at], self._values[at], size))
            for shift in shifts.unique()
            for at in [shifts == shift]
        ]
        return _Matrices(matrices, width, self._bias_map(*x.shape[2:]))

    def _convolved(self, x: Tensor, prepared: _Matrices) -> Tensor:
        filters, height, columns = prepared.bias.shape
        pixels = (height - 1) * prepared.width + columns
        planes = self._planes(x)
        total = planes.new_zeros(len(planes), filters, height * prepared.width)
        for image, result in zip(planes, total, strict=True):
            for shift, matrix in prepared.matrices:
                result[:, :pixels] += matrix @ image[:, shift : shift + pixels]
        output = total.view(len(planes), filters, height, prepared.width)[..., :columns] + prepared.bias
        activated: Tensor = self.activation(output)
        return activated

    def _planes(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, inputs · strides, pixels), contiguous."""
        (top, left), (down, right), (height, width) = self._padding, self._stride, x.shape[2:]
        rows, columns = self._sides(x)
        padded = x.new_zeros(*x.shape[:2], rows, columns)
        padded[:, :, top : top + height, left : left + width] = x
        phases = padded.view(*x.shape[:2], rows // down, down, columns // right, right)
        return phases.permute(0, 1, 3, 5, 2, 4).reshape(len(x), self._inputs * down * right, -1)

    def _sides(self, x: Tensor) -> tuple[int, int]:
        """Return those of an image with its padding, and more of it up to a multiple of the stride."""
        sides = zip(x.shape[2:], self._padding, self._stride, strict=True)
        rows, columns = (-(-(side + 2 * padding) // stride) * stride for side, padding, stride in sides)
        return rows, columns


class _Matrices(NamedTuple):
    """A matrix for each tap and where its inputs begin, the width of a plane, and the bias of every output pixel."""

    matrices: list[tuple[int, Tensor]]
    width: int
    bias: Tensor


@functools.cache
def _workers(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def is_convolution(layer: nn.Module) -> bool:
    """Whether a layer of a compacted network is a zero-padded convolution with its bias and activation."""
    if isinstance(layer, BorderedConvolution):
        return True
    conv = layer[0] if isinstance(layer, nn.Sequential) and len(layer) == 2 else None
    return isinstance(conv, nn.Conv2d) and conv.padding_mode == "zeros" and isinstance(conv.padding, tuple)


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
    bias = conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach().clone()
    return conv, activation, bias, conv.weight.new_zeros(conv.out_channels, 1, *conv.kernel_size)


def _csr(rows: Tensor, columns: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        # That the format is in beta.
        warnings.simplefilter("ignore", UserWarning)
        places = torch.stack([rows, columns])
        return torch.sparse_coo_tensor(places, values, size, check_invariants=False).to_sparse_csr()


def _slope(activation: nn.Module) -> float | None:
    """The slope of an activation that is a leaky ReLU, a ReLU or none at all; it never decreases."""
    if isinstance(activation, nn.LeakyReLU) and activation.negative_slope >= 0:
        return activation.negative_slope
    return 0.0 if isinstance(activation, nn.ReLU) else 1.0 if isinstance(activation, nn.Identity) else None


def _pair(sides: tuple[int, ...]) -> tuple[int, int]:
    height, width = sides
    return height, width
