"""The arithmetic of a convolution with few weights: sums of shifted images, compiled when first called.

No layer is known here, and no tensor: an image is copied into padded planes in which a weight's input lies at a fixed
distance from its output. So a weight of any tap, channel or group is an offset and a value (`sparse_plan` finds them),
and nothing is unfolded.

Libraries multiply sparse matrices by loading and storing the sum once for every weight. Here the sums of a block of
pixels stay in registers while all weights of a filter that read a tile of planes are added: one load and one fused
multiply-add for each vector of pixels. A tile is what fits the first cache; what a filter has summed up over the tiles
so far waits in the second. A compiler does not find this by itself, so the loop is written out in LLVM's vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

LANES = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8
"""Floats of a vector. LLVM splits what the processor does not have, and keeps compiled code apart by processor."""

VECTORS = 13
"""Sums of a block, in vectors. Of the 16 registers of a processor without AVX-512, one holds the weight."""

# NaN and infinity stay what they are; products may be fused with sums, and sums reordered.
_jit = partial(numba.njit, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile; once and for all processes where there is a folder to keep the result in."""
    try:
        return _jit(cache=True)(function)
    except RuntimeError:
        return _jit(cache=False)(function)


@intrinsic
def _add(  # type: ignore[no-untyped-def]
    _, packed, at, offsets, values, first, last, sums, start, vectors
):
    """Add the weights from `first` up to `last`, one at least, to so many vectors of sums from sums[start]; the input
    of the first lies at packed[at + offset]."""
    given = packed, at, offsets, values, first, last, sums, start, vectors
    # Positions are signed words, whatever their expressions were inferred as.
    signature = types.void(*(each if isinstance(each, types.Array) else types.intp for each in given))
    return signature, _add_in_registers


def _add_in_registers(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
    """Write `_add` in LLVM's language: a loop over the weights for each number of vectors."""

    def data(argument: int) -> ir.Value:
        return context.make_array(signature.args[argument])(context, builder, arguments[argument]).data

    word, number = ir.IntType(64), context.get_value_type(signature.args[0].dtype)
    vector = ir.VectorType(number, LANES)
    name = f"llvm.fmuladd.v{LANES}{number.intrinsic_name}"
    multiply_add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
    source, target = builder.gep(data(0), [arguments[1]]), builder.gep(data(6), [arguments[7]])
    offsets, values, first, last = data(2), data(3), arguments[4], arguments[5]

    def pieces(address: ir.Value, count: int) -> list[ir.Value]:
        whole = builder.bitcast(address, vector.as_pointer())
        return [builder.gep(whole, [ir.Constant(word, piece)]) for piece in range(count)]

    # All vectors may lie anywhere.
    align = number.get_abi_alignment(context.target_data)
    done = builder.append_basic_block("done")
    switch = builder.switch(arguments[8], done)
    for count in range(1, VECTORS + 1):
        begin, loop, end = (builder.append_basic_block(f"{part}.{count}") for part in ("begin", "loop", "end"))
        switch.add_case(count, begin)

        builder.position_at_end(begin)
        before = [builder.load(piece, align=align) for piece in pieces(target, count)]
        builder.branch(loop)

        builder.position_at_end(loop)
        weight, *sums = [builder.phi(word), *(builder.phi(vector) for _ in range(count))]
        offset = builder.sext(builder.load(builder.gep(offsets, [weight])), word)
        value = _splat(builder, builder.load(builder.gep(values, [weight])), vector)
        after = [
            builder.call(multiply_add, [builder.load(piece, align=align), value, total])
            for piece, total in zip(pieces(builder.gep(source, [offset]), count), sums, strict=True)
        ]
        following = builder.add(weight, ir.Constant(word, 1))
        builder.cbranch(builder.icmp_signed("<", following, last), loop, end)
        for phi, old, new in zip([weight, *sums], [first, *before], [following, *after], strict=True):
            phi.add_incoming(old, begin)
            phi.add_incoming(new, loop)

        builder.position_at_end(end)
        for total, piece in zip(after, pieces(target, count), strict=True):
            builder.store(total, piece, align=align)
        builder.branch(done)
    builder.position_at_end(done)
    return context.get_dummy_value()


def _splat(builder: ir.IRBuilder, value: ir.Value, vector: ir.VectorType) -> ir.Value:
    none, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    all_first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
    return builder.shuffle_vector(builder.insert_element(none, value, first), none, all_first)


@_compiled
def convolve(
    image: Floats,
    planes: Integers,
    tiles: Integers,
    starts: Integers,
    offsets: NDArray[np.int32],
    values: Floats,
    bias: Floats,
    kinds: Integers,
    groups: Integers,
    stride: tuple[int, int],
    width: int,
    size: int,
    rows: int,
    more_rows: int,
    slope: np.float32,
    pool: bool,
    first: int,
    last: int,
    output: Floats,
) -> None:
    """Write leaky(bias + Σ value · planes[offset + pixel]) to the output, piece by piece.

    A piece is a group of filters over a band of rows: piece p computes group p % groups of band p // groups. The
    interpreter is free meanwhile, so that threads can share the pieces.

    Args:
        image: (channels, H, W), contiguous.
        planes: (planes, 3), what each is a copy of: a channel, and the row and column of its first pixel in it, which
            may lie in the padding. Between two pixels of a plane lies a stride of the image.
        tiles: (tiles + 1,): tile t has the planes from tiles[t] up to tiles[t + 1].
        starts: (tiles, filters + 1): filter f has the weights from starts[t, f] up to starts[t, f + 1] in tile t.
        offsets: (weights,), where the input of a band's output pixel 0 lies among the planes of a tile; that of
            pixel (y, x) is y · width + x further.
        values: (weights,).
        bias: (filters, kinds of rows, W').
        kinds: (H',), the kind of each row.
        groups: (groups + 1,): group g has the filters from groups[g] up to groups[g + 1].
        stride: rows and columns.
        width: of a row of a plane, W' at least.
        size: from a plane to the next one.
        rows: of the output in a band; even, with `pool`.
        more_rows: of a plane, beyond those of the output.
        slope: of the leaky ReLU, not negative; 1 is none, 0 the ReLU.
        pool: write the largest of every 2 × 2 pixels; H' and W' are even.
        first: of the pieces to compute.
        last: the one before which to stop.
        output: (filters, H', W') or (filters, H' / 2, W' / 2), contiguous.
    """
    height = len(kinds)
    span = -(-rows * width // LANES) * LANES
    packed = np.empty(np.diff(tiles).max() * size + LANES, image.dtype)
    sums = np.empty(np.diff(groups).max() * span, image.dtype)
    for piece in range(first, last):
        top, group = piece // (len(groups) - 1) * rows, piece % (len(groups) - 1)
        low, high = groups[group], groups[group + 1]
        here = min(rows, height - top)
        for f in range(low, high):
            for y in range(here):
                _copy(bias[f, kinds[top + y]], sums[(f - low) * span + y * width :])
        vectors = -(-here * width // LANES)
        blocks = -(-vectors // VECTORS)
        for tile in range(len(tiles) - 1):
            for plane in range(tiles[tile], tiles[tile + 1]):
                place = packed[(plane - tiles[tile]) * size :]
                row, column = planes[plane, 1] + top * stride[0], planes[plane, 2]
                _pack(image[planes[plane, 0]], row, column, stride, here + more_rows, width, place)
            for block in range(blocks):
                start = vectors * block // blocks
                count = vectors * (block + 1) // blocks - start
                start *= LANES
                for f in range(low, high):
                    weight, end = starts[tile, f], starts[tile, f + 1]
                    if weight < end:
                        _add(packed, start, offsets, values, weight, end, sums, (f - low) * span + start, count)
        for f in range(low, high):
            total = sums[(f - low) * span :]
            if pool:
                for y in range(0, here, 2):
                    _pool(total[y * width :], total[(y + 1) * width :], slope, output[f, (top + y) // 2])
            else:
                for y in range(here):
                    _activate(total[y * width :], slope, output[f, top + y])


@_compiled
def _pack(image: Floats, row: int, column: int, stride: tuple[int, int], rows: int, width: int, plane: Floats) -> None:
    """Copy every stride-th pixel from (row, column) on; what lies beside the image is zero."""
    left = min(width, max(0, -(column // stride[1])))
    right = max(left, min(width, (image.shape[1] - 1 - column) // stride[1] + 1))
    for r in range(rows):
        y, line = row + r * stride[0], plane[r * width :]
        if y < 0 or y >= image.shape[0]:
            for p in range(width):
                line[p] = 0
            continue
        for p in range(left):
            line[p] = 0
        for p in range(right, width):
            line[p] = 0
        if stride[1] == 1:
            _copy(image[y, column + left : column + right], line[left:])
        else:
            pixels = image[y, column + left * stride[1] :]
            inner = line[left:right]
            for p in range(len(inner)):
                inner[p] = pixels[p * stride[1]]


@_compiled
def _copy(row: Floats, total: Floats) -> None:
    for p in range(len(row)):
        total[p] = row[p]


@_compiled
def _activate(total: Floats, slope: np.float32, line: Floats) -> None:
    if slope == 0:
        # Infinity times zero would be no number.
        for p in range(len(line)):
            value = total[p]
            line[p] = 0 if value < 0 else value
    else:
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
        line[p] = right if right > left or right != right else left
    _activate(line, slope, line)
