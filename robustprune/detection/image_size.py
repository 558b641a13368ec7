"""How large a network's images are: squares mostly, oblongs where a detector was made for them."""

from __future__ import annotations

ImageSize = int | tuple[int, int]
"""Side of a square, or (height, width), in pixels."""


def sides(size: ImageSize) -> tuple[int, int]:
    """Return (height, width).

    >>> sides(416), sides((192, 320))
    ((416, 416), (192, 320))
    """
    return (size, size) if isinstance(size, int) else size


def smallest(height: int, width: int) -> ImageSize:
    """Return a size as it is said: the side of a square alone."""
    return height if height == width else (height, width)


def in_words(size: ImageSize) -> str:
    """Return a size as people write it, the width first.

    >>> in_words(416), in_words((192, 320))
    ('416x416', '320x192')
    """
    height, width = sides(size)
    return f"{width}x{height}"
