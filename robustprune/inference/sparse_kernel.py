"""The arithmetic of a convolution with few weights: sums of shifted images, compiled when first called.

No layer is known here, and no tensor: an image is a flat array in which a weight's input lies at a fixed distance from
its output. So a weight of any tap, channel or group is an offset and a value, and nothing is unfolded.

Libraries multiply sparse matrices by loading and storing the sum once for every weight. Here eight weights are added
at a time, over a block of pixels that stays in the first cache; the compiler makes vectors of the pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

BLOCK = 512
"""Pixels at a time: eight inputs and a sum of so many floats fit the first cache."""

# NaN and infinity stay what they are; products may be fused with sums, and sums reordered.
_jit = partial(numba.njit, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile; once and for all processes where there is a folder to keep the result in."""
    try:
        return _jit(cache=True)(function)
    except RuntimeError:
        return _jit(cache=False)(function)


@_compiled
def convolve(
    planes: Floats,
    starts: Integers,
    offsets: Integers,
    values: Floats,
    bias: Floats,
    kinds: Integers,
    slope: np.float32,
    pool: bool,
    first: int,
    last: int,
    output: Floats,
) -> None:
    """Write leaky(bias + Σ value · planes[offset + pixel]) to the output, filter by filter.

    The interpreter is free meanwhile, so that threads can share the filters.

    Args:
        planes: (inputs,), the padded image.
        starts: (filters + 1,): filter f has the weights from starts[f] up to starts[f + 1].
        offsets: (weights,), where the input of output pixel 0 lies in `planes`; that of pixel (y, x) is
            y · width + x further.
        values: (weights,).
        bias: (filters, kinds of rows, width), `width` being that of a row of `planes`.
        kinds: (H',), the kind of each row.
        slope: of the leaky ReLU, in (0, 1]; 1 is none.
        pool: write the largest of every 2 × 2 pixels; H' and W' are even.
        first: of the filters to compute.
        last: the one before which to stop.
        output: (filters, H', W') or (filters, H' / 2, W' / 2), contiguous.
    """
    width = bias.shape[2]
    height = len(kinds)
    columns = output.shape[2] * 2 if pool else output.shape[2]
    rows = max(2, BLOCK // width // 2 * 2)
    total = np.empty(rows * width, np.float32)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        # The end of the last row is beyond the image, and its inputs may be beyond the array.
        pixels = (bottom - top - 1) * width + columns
        for f in range(first, last):
            for y in range(top, bottom):
                _copy(bias[f, kinds[y]], total[(y - top) * width :])
            _add(planes[top * width :], offsets, values, starts[f], starts[f + 1], total[:pixels])
            if pool:
                for y in range(top, bottom, 2):
                    row = total[(y - top) * width :]
                    _pool(row[:columns], row[width:], slope, output[f, y // 2])
            else:
                for y in range(top, bottom):
                    _activate(total[(y - top) * width :], slope, output[f, y])


@_compiled
def _add(planes: Floats, offsets: Integers, values: Floats, weight: int, end: int, total: Floats) -> None:
    pixels = len(total)
    while weight + 8 <= end:
        v0, v1, v2, v3 = values[weight], values[weight + 1], values[weight + 2], values[weight + 3]
        v4, v5, v6, v7 = values[weight + 4], values[weight + 5], values[weight + 6], values[weight + 7]
        x0 = planes[offsets[weight] :]
        x1 = planes[offsets[weight + 1] :]
        x2 = planes[offsets[weight + 2] :]
        x3 = planes[offsets[weight + 3] :]
        x4 = planes[offsets[weight + 4] :]
        x5 = planes[offsets[weight + 5] :]
        x6 = planes[offsets[weight + 6] :]
        x7 = planes[offsets[weight + 7] :]
        for p in range(pixels):
            left = v0 * x0[p] + v1 * x1[p] + v2 * x2[p] + v3 * x3[p]
            total[p] += left + (v4 * x4[p] + v5 * x5[p] + v6 * x6[p] + v7 * x7[p])
        weight += 8
    if weight + 4 <= end:
        v0, v1, v2, v3 = values[weight], values[weight + 1], values[weight + 2], values[weight + 3]
        x0 = planes[offsets[weight] :]
        x1 = planes[offsets[weight + 1] :]
        x2 = planes[offsets[weight + 2] :]
        x3 = planes[offsets[weight + 3] :]
        for p in range(pixels):
            total[p] += v0 * x0[p] + v1 * x1[p] + v2 * x2[p] + v3 * x3[p]
        weight += 4
    while weight < end:
        v0, x0 = values[weight], planes[offsets[weight] :]
        for p in range(pixels):
            total[p] += v0 * x0[p]
        weight += 1


@_compiled
def _copy(row: Floats, total: Floats) -> None:
    for p in range(len(row)):
        total[p] = row[p]


@_compiled
def _activate(total: Floats, slope: np.float32, line: Floats) -> None:
    for p in range(len(line)):
        value = total[p]
        line[p] = slope * value if value < 0 else value


@_compiled
def _pool(upper: Floats, lower: Floats, slope: np.float32, line: Floats) -> None:
    """Pool, then activate: the same as the other way round, with a quarter of the work. NaN is the largest."""
    for p in range(len(line)):
        a, b, c, d = upper[2 * p], lower[2 * p], upper[2 * p + 1], lower[2 * p + 1]
        left = b if b > a or b != b else a
        right = d if d > c or d != d else c
        value = right if right > left or right != right else left
        line[p] = slope * value if value < 0 else value
