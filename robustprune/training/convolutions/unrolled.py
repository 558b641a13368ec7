"""Convolutions as one product of matrices, of the pixels under each position of the filter.

Where images are small and filters many, reading the filters is most of the work: here they are read as they lie in
memory, and their gradient is written as it will lie there.

All memory is channels-last: images (N, H, W, C), filters (O, h, w, C).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def columns(images: Tensor, *, size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """Return the pixels under each position of a filter, (N · H' · W', h · w · C)."""
    count, height, width, channels = images.shape
    if size == (1, 1) and padding == (0, 0) and stride == (1, 1):
        return images.reshape(-1, channels)
    padded = images
    if any(padding):
        padded = images.new_zeros(count, height + 2 * padding[0], width + 2 * padding[1], channels)
        padded[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width] = images
    rows, across = positions((height, width), size=size, stride=stride, padding=padding)
    image, row, column, _ = padded.stride()
    under = padded.as_strided(
        (count, rows, across, *size, channels), (image, stride[0] * row, stride[1] * column, row, column, 1)
    )
    return under.reshape(count * rows * across, size[0] * size[1] * channels)


def summed(
    found: Tensor,
    shape: tuple[int, int, int, int],
    *,
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Tensor:
    """Return images of a shape, (N, H, W, C), that have at each pixel the sum of what `columns` would read there.

    Args:
        found: (N · H' · W', h · w · C).
        shape: of the images.
        size: of the filter.
        stride: of its positions.
        padding: around images.
    """
    count, height, width, channels = shape
    if size == (1, 1) and padding == (0, 0) and stride == (1, 1):
        return found.view(shape)
    padded = found.new_zeros(count, height + 2 * padding[0], width + 2 * padding[1], channels)
    rows, across = positions((height, width), size=size, stride=stride, padding=padding)
    parts = found.view(count, rows, across, *size, channels)
    for i in range(size[0]):
        for j in range(size[1]):
            down, along = slice(i, i + rows * stride[0], stride[0]), slice(j, j + across * stride[1], stride[1])
            padded[:, down, along] += parts[:, :, :, i, j]
    return padded[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width].contiguous()


def positions(
    image: Sequence[int], *, size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> tuple[int, int]:
    """Return how many positions of a filter there are in an image of (height, width), down and across."""
    down, across = ((image[i] + 2 * padding[i] - size[i]) // stride[i] + 1 for i in range(2))
    return down, across
