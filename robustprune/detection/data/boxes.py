"""Boxes as COCO writes them, x, y, width and height in pixels: cut at their image's edges, or seen to be no such boxes.

What is done with boxes that are no damage, such as empty ones, is in `coco`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustprune.core.errors import InputError

ROUNDING = 0.01
"""Boxes are written with two decimals: less than this, in pixels, is no extent and no damage."""

MOST_REACHING = 0.2
"""The part of boxes that reach out of their images from which on, if all lie inside them as corners, they are these."""


def clip(bbox: NDArray[np.float64], sizes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut boxes at their images' edges; also return how far an edge moved at most.

    Shape:
        - bbox: (N, 4)
        - sizes: (N, 2), width and height of each box's image
        - returns: (N, 4) and (N,)
    """
    low, high = bbox[:, :2], bbox[:, :2] + bbox[:, 2:]
    inner_low, inner_high = np.clip(low, 0, sizes), np.clip(high, 0, sizes)
    moved = np.maximum(np.abs(inner_low - low), np.abs(inner_high - high)).max(axis=1)
    # Boxes that stay keep the very numbers of the file.
    clipped = np.where(moved[:, None] > 0, np.hstack([inner_low, inner_high - inner_low]), bbox)
    return clipped, moved


def check_extents(bbox: NDArray[np.float64], sizes: NDArray[np.float64], path: Path, records: str) -> None:
    """Check that boxes are x, y, width and height in pixels, as far as can be told from all together.

    Args:
        bbox: (N, 4), as they are written.
        sizes: (N, 2), width and height of each box's image.
        path: of the file, for messages.
        records: the field that lists what they are of, for messages.

    Raises:
        InputError: they are two corners, or parts of their image's sides.
    """
    if len(bbox) < 2:
        return
    ordered = (bbox[:, 2:] > bbox[:, :2]).all(axis=1)
    inside = (bbox >= 0).all(axis=1) & (bbox[:, 2:] <= sizes + 1).all(axis=1)
    _, moved = clip(bbox, sizes)
    reaching = np.flatnonzero(moved > 1)
    if len(reaching) >= max(2, MOST_REACHING * len(bbox)) and (ordered & inside).all():
        raise InputError(
            f"{path}: field {records}[{reaching[0]}].bbox is {bbox[reaching[0]].tolist()}, expected x, y, width and "
            f"height, not two corners: {len(reaching)} of {len(bbox)} boxes reach out of their images, and as corners "
            "none does"
        )
    if (bbox >= 0).all() and (bbox <= 1).all() and bbox.any():
        raise InputError(
            f"{path}: field {records}[0].bbox is {bbox[0].tolist()}, expected x, y, width and height in pixels, not as "
            f"parts of an image's sides: all {len(bbox)} boxes are within 1"
        )
