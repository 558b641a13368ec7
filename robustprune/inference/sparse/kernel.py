"""The arithmetic of a convolution with few weights: sums of shifted images, compiled when first called.

No layer is known here, and no tensor: an image is copied into padded planes in which a weight's input lies at a fixed
distance from its output. So a weight of any tap, channel or group is an offset and a value (`plan` finds them),
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

_ANYWHERE = 1
"""Alignment of vectors that may lie anywhere."""

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
def _add(_, packed, at, offsets, values, first, last, sums, start, vectors):
    """Add the weights from `first` up to `last`, one at least, to so many vectors of sums from sums[start]; the input
    of the first sum lies at packed[at + offset]."""
    return _signature(packed, at, offsets, values, first, last, sums, start, vectors), _add_in_registers


def _add_in_registers(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
    """Write `_add` in LLVM's language: a loop over the weights for each number of vectors."""
    packed, at, offsets, values, first, last, sums, start, vectors = _addresses(context, builder, signature, arguments)
    vector = ir.VectorType(packed.type.pointee, LANES)
    name = f"llvm.fmuladd.v{LANES}{packed.type.pointee.intrinsic_name}"
    multiply_add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
    source, target = builder.gep(packed, [at]), builder.gep(sums, [start])
    done = builder.append_basic_block("done")
    switch = builder.switch(vectors, done)
    for count in range(1, VECTORS + 1):
        begin, loop, end = (builder.append_basic_block(f"{part}.{count}") for part in ("begin", "loop", "end"))
        switch.add_case(count, begin)
        places = [_WORD(LANES * place) for place in range(count)]

        builder.position_at_end(begin)
        before = [_load(builder, target, place, LANES) for place in places]
        builder.branch(loop)

        builder.position_at_end(loop)
        weight, *totals = [builder.phi(_WORD), *(builder.phi(vector) for _ in range(count))]
        inputs = builder.gep(source, [builder.sext(builder.load(builder.gep(offsets, [weight])), _WORD)])
        value = _splat(builder, builder.load(builder.gep(values, [weight])), LANES)
        after = [
            builder.call(multiply_add, [_load(builder, inputs, place, LANES), value, total])
            for place, total in zip(places, totals, strict=True)
        ]
        following = builder.add(weight, _WORD(1))
        builder.cbranch(builder.icmp_signed("<", following, last), loop, end)
        for phi, old, new in zip([weight, *totals], [first, *before], [following, *after], strict=True):
            phi.add_incoming(old, begin)
            phi.add_incoming(new, loop)

        builder.position_at_end(end)
        for total, place in zip(after, places, strict=True):
            _store(builder, total, target, place)
        builder.branch(done)
    builder.position_at_end(done)
    return context.get_dummy_value()


@intrinsic
def _copy(_, row, at, line, start, count):
    """Write row[at : at + count] to line[start : start + count]."""

    def write(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        row, at, line, start, count = _addresses(context, builder, signature, arguments)
        source, target = builder.gep(row, [at]), builder.gep(line, [start])
        _along(builder, count, lambda p, lanes: _store(builder, _load(builder, source, p, lanes), target, p))
        return context.get_dummy_value()

    return _signature(row, at, line, start, count), write


@intrinsic
def _activate(_, total, at, slope, line, start, count):
    """Write the leaky ReLU of total[at : at + count] to line[start : start + count]."""

    def write(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        total, at, slope, line, start, count = _addresses(context, builder, signature, arguments)
        source, target = builder.gep(total, [at]), builder.gep(line, [start])

        def some(p: ir.Value, lanes: int) -> None:
            _store(builder, _leaky(builder, _load(builder, source, p, lanes), slope), target, p)

        _along(builder, count, some)
        return context.get_dummy_value()

    return _signature(total, at, slope, line, start, count), write


@intrinsic
def _pool(_, total, at, below, slope, line, start, count):
    """Write the leaky ReLU of the largest of every 2 × 2 pixels from total[at] on, the lower two of which lie so far
    `below`, to line[start : start + count]. NaN is the largest.

    Pool, then activate: the same as the other way round, with a quarter of the work.
    """

    def write(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        total, at, below, slope, line, start, count = _addresses(context, builder, signature, arguments)
        upper, target = builder.gep(total, [at]), builder.gep(line, [start])
        lower = builder.gep(upper, [below])

        def some(p: ir.Value, lanes: int) -> None:
            twice = builder.add(p, p)
            higher = _larger(builder, *(_load(builder, each, twice, 2 * lanes) for each in (upper, lower)))
            indices = (ir.Constant(ir.VectorType(_INDEX, lanes), [*range(odd, 2 * lanes, 2)]) for odd in (0, 1))
            sides = (builder.shuffle_vector(higher, higher, each) for each in indices)
            _store(builder, _leaky(builder, _larger(builder, *sides), slope), target, p)

        _along(builder, count, some)
        return context.get_dummy_value()

    return _signature(total, at, below, slope, line, start, count), write


_WORD, _INDEX = ir.IntType(64), ir.IntType(32)


def _signature(*given: types.Type) -> Any:
    """Of a function that returns nothing: positions are words, whatever their expressions were inferred as."""
    return types.void(*(types.intp if isinstance(each, types.Integer) else each for each in given))


def _addresses(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> list[ir.Value]:
    """Return arguments with the address of its numbers for each array."""
    return [
        context.make_array(kind)(context, builder, each).data if isinstance(kind, types.Array) else each
        for kind, each in zip(signature.args, arguments, strict=True)
    ]


def _along(builder: ir.IRBuilder, count: ir.Value, some: Callable[[ir.Value, int], None]) -> None:
    """Call `some` with the first index and the number of every vector of so many numbers; of the widest vectors that
    are not too long. The last one ends with the numbers, even if it overlaps with the one before: so they must not be
    changed in place."""
    done = builder.append_basic_block("done")
    for lanes in sorted({LANES, 8, 4, 1}, reverse=True):
        loop, end, rest, narrower = (builder.append_basic_block(part) for part in ("loop", "end", "rest", "narrower"))
        before, last = builder.block, builder.sub(count, _WORD(lanes))
        builder.cbranch(builder.icmp_signed("<=", _WORD(0), last), loop, narrower)
        builder.position_at_end(loop)
        index = builder.phi(_WORD)
        some(index, lanes)
        following = builder.add(index, _WORD(lanes))
        builder.cbranch(builder.icmp_signed("<=", following, last), loop, end)
        index.add_incoming(_WORD(0), before)
        index.add_incoming(following, loop)
        builder.position_at_end(end)
        builder.cbranch(builder.icmp_signed("<", following, count), rest, done)
        builder.position_at_end(rest)
        some(last, lanes)
        builder.branch(done)
        builder.position_at_end(narrower)
    builder.branch(done)
    builder.position_at_end(done)


def _load(builder: ir.IRBuilder, numbers: ir.Value, place: ir.Value, lanes: int) -> ir.Value:
    address = builder.bitcast(builder.gep(numbers, [place]), ir.VectorType(numbers.type.pointee, lanes).as_pointer())
    return builder.load(address, align=_ANYWHERE)


def _store(builder: ir.IRBuilder, vector: ir.Value, numbers: ir.Value, place: ir.Value) -> None:
    address = builder.bitcast(builder.gep(numbers, [place]), vector.type.as_pointer())
    builder.store(vector, address, align=_ANYWHERE)


def _splat(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    none = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(none, value, _INDEX(0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(_INDEX, lanes), None))


def _larger(builder: ir.IRBuilder, one: ir.Value, other: ir.Value) -> ir.Value:
    larger = builder.select(builder.fcmp_ordered(">", one, other), one, other)
    return builder.select(builder.fcmp_unordered("uno", one, one), one, larger)


def _leaky(builder: ir.IRBuilder, value: ir.Value, slope: ir.Value) -> ir.Value:
    zero = ir.Constant(value.type, None)
    scaled = builder.fmul(value, _splat(builder, slope, value.type.count))
    # Infinity times zero would be no number.
    is_relu = builder.fcmp_ordered("==", slope, ir.Constant(slope.type, 0))
    scaled = builder.select(is_relu, zero, scaled)
    return builder.select(builder.fcmp_ordered("<", value, zero), scaled, value)


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
    height, columns = len(kinds), bias.shape[2]
    span = -(-rows * width // LANES) * LANES
    packed = np.empty(np.diff(tiles).max() * size + LANES, image.dtype)
    sums = np.empty(np.diff(groups).max() * span, image.dtype)
    for piece in range(first, last):
        top, group = piece // (len(groups) - 1) * rows, piece % (len(groups) - 1)
        low, high = groups[group], groups[group + 1]
        here = min(rows, height - top)
        for f in range(low, high):
            for y in range(here):
                _copy(bias, (f * bias.shape[1] + kinds[top + y]) * columns, sums, (f - low) * span + y * width, columns)
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
            total = (f - low) * span
            if pool:
                for y in range(0, here, 2):
                    line = (f * height + top + y) // 2 * (columns // 2)
                    _pool(sums, total + y * width, width, slope, output, line, columns // 2)
            elif width == columns:
                _activate(sums, total, slope, output, (f * height + top) * columns, here * columns)
            else:
                for y in range(here):
                    line = (f * height + top + y) * columns
                    _activate(sums, total + y * width, slope, output, line, columns)


@_compiled
def _pack(image: Floats, row: int, column: int, stride: tuple[int, int], rows: int, width: int, plane: Floats) -> None:
    """Copy every stride-th pixel from (row, column) on; what lies beside the image is zero."""
    within = row >= 0 and column == 0 and row + rows <= image.shape[0] and width == image.shape[1]
    if within and stride[0] == stride[1] == 1:
        _copy(image, row * width, plane, 0, rows * width)
        return
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
            _copy(image, y * image.shape[1] + column + left, line, left, right - left)
        else:
            pixels = image[y, column + left * stride[1] :]
            inner = line[left:right]
            for p in range(len(inner)):
                inner[p] = pixels[p * stride[1]]
