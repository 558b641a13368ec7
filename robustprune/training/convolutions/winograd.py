"""3 × 3 convolutions by F(4 × 4, 3 × 3), Winograd's minimal filtering: 36 products where the plain way takes 144.

From Lavin & Gray, Fast Algorithms for Convolutional Neural Networks (2016): tiles d of 6 × 6 pixels, which overlap by
2, and filters g are transformed, multiplied number by number, summed over channels, and transformed back,
Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A. Products and sums over channels are 36 products of matrices.

All memory is channels-last: images (N, H, W, C), filters (O, 3, 3, C). Padding is 1, stride 1.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

TILE, PATCH = 4, 6
"""Sides of the pixels that a tile gives, and of those that it takes."""

_B = (
    (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
    (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
    (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
    (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
)
_G = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
_A = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
    (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
    (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
)


@functools.cache
def _twice(rows: tuple[tuple[float, ...], ...], dtype: torch.dtype) -> Tensor:
    """Return the matrix that transforms both sides of a tile that is laid out as one column."""
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix).to(dtype)


def filters(weight: Tensor, *, turned: bool) -> Tensor:
    """Return filters (O, 3, 3, C) transformed, (36, O, C); each turned by half a circle where gradients go through."""
    outputs, _, _, channels = weight.shape
    matrix = _twice(_G, weight.dtype)
    taps = weight.reshape(outputs, 9, channels).transpose(0, 1).reshape(9, outputs * channels)
    return ((matrix.flip(1) if turned else matrix) @ taps).view(PATCH * PATCH, outputs, channels)


def tiles_of(height: int, width: int) -> int:
    """Return how many tiles an image takes."""
    return -(-height // TILE) * -(-width // TILE)


def patches(images: Tensor) -> Tensor:
    """Return the tiles of images (N, H, W, C) transformed, (36, T, C)."""
    count, height, width, channels = images.shape
    down, across = -(-height // TILE), -(-width // TILE)
    padded = images.new_zeros(count, TILE * down + 2, TILE * across + 2, channels)
    padded[:, 1 : height + 1, 1 : width + 1] = images
    image, row, column, _ = padded.stride()
    tiles = padded.as_strided(
        (PATCH, PATCH, count, down, across, channels), (row, column, image, TILE * row, TILE * column, 1)
    )
    flat = tiles.reshape(PATCH * PATCH, -1)
    return (_twice(_B, images.dtype) @ flat).view(PATCH * PATCH, -1, channels)


def convolved(tiles: Tensor, transformed: Tensor, *, like: Tensor) -> Tensor:
    """Return images (N, H, W, O) from tiles (36, T, C) and transformed filters (36, C, O).

    Args:
        like: images of that number and size.
    """
    count, height, width, _ = like.shape
    down, across = -(-height // TILE), -(-width // TILE)
    products = torch.bmm(tiles, transformed)
    outputs = products.shape[2]
    found = (_twice(_A, products.dtype) @ products.view(PATCH * PATCH, -1)).view(
        TILE, TILE, count, down, across, outputs
    )
    whole = found.permute(2, 3, 0, 4, 1, 5).reshape(count, TILE * down, TILE * across, outputs)
    return whole[:, :height, :width].contiguous()


def filter_gradient(tiles: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient of filters, (O, 3, 3, C), from tiles (36, T, C) and that of the output, (N, H, W, O)."""
    count, height, width, outputs = gradient.shape
    down, across = -(-height // TILE), -(-width // TILE)
    padded = gradient
    if (height, width) != (TILE * down, TILE * across):
        padded = gradient.new_zeros(count, TILE * down, TILE * across, outputs)
        padded[:, :height, :width] = gradient
    parts = padded.view(count, down, TILE, across, TILE, outputs).permute(2, 4, 0, 1, 3, 5).reshape(TILE * TILE, -1)
    spread = (_twice(_A, parts.dtype).T @ parts).view(PATCH * PATCH, -1, outputs)
    channels = tiles.shape[2]
    found = _twice(_G, tiles.dtype).T @ torch.bmm(spread.mT, tiles).view(PATCH * PATCH, -1)
    return found.view(9, outputs, channels).transpose(0, 1).reshape(outputs, 3, 3, channels)
