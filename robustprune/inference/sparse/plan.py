"""How the kernel of sparse convolutions goes about a layer: where each weight finds its input, and what comes together.

An image is seen as planes, in which all weights find their inputs at a fixed distance from their outputs: one for every
channel that is read and, with a stride, for each phase of it. Planes fall into tiles, rows of the output into bands and
filters into groups, so that what is in use at a time fits the processor's caches.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustprune.inference.sparse.kernel import LANES

Integers = NDArray[np.int64]

TILE = 32 * 1024
"""Bytes of the planes of a tile: the first cache."""

LARGEST_TILE = 4 * TILE
"""Those of a tile where it would otherwise have too few weights: a share of the second cache."""

WORTHWHILE = 8
"""Weights of a filter in a tile that are worth loading and storing its sums for."""

SUMS = 320 * 1024
"""Bytes of the sums of a piece: most of the second cache of a small processor. What is smaller copies planes again."""

BAND = 416
"""Pixels of a band: with more, planes are larger and tiles have fewer; with less, borders are copied more often."""

LOWEST = 4
"""Rows of a band, at least."""

_COST_OF_A_FILTER = 4
"""What it takes to write a filter's output, in weights."""

_PIECES = 4
"""For each thread, from which on they need not be a multiple of the threads."""


class Taps(NamedTuple):
    """The weights of a convolution that are not zero.

    Attributes:
        filter: (weights,).
        channel: (weights,), of the image.
        row: (weights,), how far below the first tap each lies, dilation included.
        column: (weights,), likewise.
        value: (weights,).
    """

    filter: Integers
    channel: Integers
    row: Integers
    column: Integers
    value: NDArray[Any]


class Plan(NamedTuple):
    """Arguments of `kernel.convolve`, where they are told, that follow from a layer and the size of images."""

    planes: Integers
    tiles: Integers
    starts: Integers
    offsets: NDArray[np.int32]
    values: NDArray[Any]
    bias: NDArray[Any]
    kinds: Integers
    groups: Integers
    stride: tuple[int, int]
    width: int
    size: int
    rows: int
    more_rows: int

    @property
    def pieces(self) -> int:
        """Number of pieces."""
        return -(-len(self.kinds) // self.rows) * (len(self.groups) - 1)


def make_plan(
    taps: Taps,
    bias: NDArray[Any],
    *,
    stride: tuple[int, int],
    padding: tuple[int, int],
    even: bool = False,
    shifted: bool = False,
    threads: int = 1,
) -> Plan:
    """Plan a convolution.

    Args:
        taps: its weights.
        bias: (filters, H', W'), what each output pixel starts with.
        stride: rows and columns.
        padding: rows above and columns to the left.
        even: whether a band must have an even number of rows.
        shifted: a plane for every column of taps, so that all loads are aligned. A vector that lies across two lines
            of the cache takes as long as two: every second one of 8 floats, every one of 16. But these planes are
            larger together and fit caches less: with vectors of 8 floats that cost more than it gave everywhere.
        threads: which share the pieces.
    """
    filters, height, columns = bias.shape
    down, right = taps.row // stride[0], np.zeros_like(taps.column) if shifted else taps.column // stride[1]
    phases = taps.row % stride[0] - padding[0], taps.column - right * stride[1] - padding[1]
    planes, plane = np.unique(np.stack([taps.channel, *phases], axis=1), axis=0, return_inverse=True)
    plane = plane.reshape(-1)
    more_rows, more_columns = (int(shift.max(initial=0)) for shift in (down, right))
    width = _multiple(columns, LANES) if shifted else columns + more_columns
    rows = _rows(height, width, even=even)
    size = _multiple((rows + more_rows) * width + more_columns, LANES)

    fewest, most = (-(-len(planes) // max(1, limit // (size * bias.itemsize))) for limit in (LARGEST_TILE, TILE))
    tile_count = max(1, fewest, min(most, len(plane) // (filters * WORTHWHILE)))
    tiles = _shares(len(planes), tile_count)
    tile = np.searchsorted(tiles, plane, side="right") - 1
    order = np.lexsort((down, plane, taps.filter, tile))
    offset = (plane - tiles[tile]) * size + down * width + right
    counts = np.bincount(tile * filters + taps.filter, minlength=tile_count * filters).reshape(tile_count, filters)
    ends = counts.cumsum().reshape(counts.shape)
    starts = np.concatenate([ends[:, :1] - counts[:, :1], ends], axis=1)

    bands = -(-height // rows)
    groups = min(filters, _groups(bands, filters * rows * width * bias.itemsize, threads))
    work = np.concatenate([[0], (counts.sum(axis=0) + _COST_OF_A_FILTER).cumsum()])
    edges = np.searchsorted(work, np.linspace(0, work[-1], groups + 1)[1:-1])
    kinds, kind = np.unique(bias, axis=1, return_inverse=True)
    return Plan(
        planes=planes,
        tiles=tiles,
        starts=starts,
        offsets=offset[order].astype(np.int32),
        values=taps.value[order],
        bias=np.ascontiguousarray(kinds),
        kinds=kind.reshape(-1),
        groups=np.unique([0, *edges, filters]),
        stride=stride,
        width=width,
        size=size,
        rows=rows,
        more_rows=more_rows,
    )


def _rows(height: int, width: int, *, even: bool) -> int:
    """Of a band, all being equally high but for rounding."""
    bands = max(1, round(height * width / BAND))
    rows = max(LOWEST, -(-height // bands))
    return _multiple(rows, 2) if even else rows


def _groups(bands: int, sums: int, threads: int) -> int:
    """Number of groups of filters, so that sums fit their cache and threads are equally busy."""
    groups = max(1, round(sums / SUMS))
    pieces = bands * groups
    return groups if pieces >= _PIECES * threads else groups * (threads // math.gcd(pieces, threads))


def _shares(count: int, shares: int) -> Integers:
    """(shares + 1,), the edges of shares of a number that are as equal as can be."""
    return np.arange(shares + 1, dtype=np.int64) * count // shares


def _multiple(count: int, of: int) -> int:
    return -(-count // of) * of
