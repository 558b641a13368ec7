"""Pictures of one content in two splits of a data set: measured on them, a network tells nothing of other pictures."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

from robustprune.core.errors import InputError

SharedPictures = Literal["tell", "refuse"]
"""What is done where pictures of two splits have the same content."""


class Contents(NamedTuple):
    """The pictures of a split.

    Attributes:
        source: where they are from, for messages.
        names: of their files, as messages have them.
        sha256: of their files.
    """

    source: str
    names: Sequence[str]
    sha256: Sequence[str]

    def take(self, indices: Sequence[int]) -> Contents:
        """Return those of some of the pictures, in the order given."""
        return Contents(
            self.source, [self.names[index] for index in indices], [self.sha256[index] for index in indices]
        )


def shared_pictures(splits: Sequence[Contents], policy: SharedPictures) -> list[str]:
    """Return a sentence on each two splits that have pictures of the same content.

    Args:
        splits: that are to be disjoint, what is trained on first.
        policy: what is done where they are not.

    Raises:
        InputError: there are such pictures, and they are refused.
    """
    remarks = []
    for one, other in itertools.combinations(splits, 2):
        twins = dict(zip(one.sha256, one.names, strict=True))
        shared = [
            (name, twins[sha256]) for name, sha256 in zip(other.names, other.sha256, strict=True) if sha256 in twins
        ]
        if not shared:
            continue
        name, twin = shared[0]
        told = f"{other.source}: {len(shared)} images have the content of images of {one.source}, {name} that of {twin}"
        if policy == "refuse":
            raise InputError(f"{told}, expected disjoint splits (dataset.shared_pictures: tell takes them)")
        remarks.append(f"{told}: what is measured on them tells nothing of other images")
    return remarks
