"""A random part of a data set, with as many images of each class."""

from __future__ import annotations

import hashlib

from robustprune.classification.data.images import LabelledImages
from robustprune.core.errors import InputError


def balanced(images: LabelledImages, count: int, *, seed: int, field: str) -> LabelledImages:
    """Return `count` images drawn at random, of each class as many, or of the first classes one more.

    Which are drawn first depends on `seed` and their place in the data set alone: a larger draw extends a smaller one.

    Args:
        images: to draw from.
        count: how many.
        seed: of the drawing.
        field: name of the setting that says how many, for the message.

    Raises:
        InputError: there are too few of a class.
    """
    ranks = [hashlib.sha256(f"{seed}/{index}".encode()).digest() for index in range(len(images))]
    order = sorted(range(len(images)), key=ranks.__getitem__)
    members: list[list[int]] = [[] for _ in images.classes]
    for index, label in zip(order, images.labels[order].tolist(), strict=True):
        members[label].append(index)
    share, more = divmod(count, len(members))
    chosen: list[int] = []
    for label, own in enumerate(members):
        wanted = share + (label < more)
        if len(own) < wanted:
            raise InputError(
                f"{field} is {count}, which takes {wanted} images of class {images.classes[label]!r}, expected at most "
                f"the {len(own)} that there are"
            )
        chosen += own[:wanted]
    return images.take(sorted(chosen))
