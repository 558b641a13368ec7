"""Ratios of layers: which are pruned as a row's ratio says, and which to a ratio of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Literal

Ratios = Mapping[str, float | Literal["ratio"]]
"""By patterns of layers' names, as file names are matched, a ratio in [0, 1), or `ratio`: the row's own. The first
pattern that matches counts; layers that match none have the row's.
"""


def pattern_of(layer: str, ratios: Ratios) -> str | None:
    """Return the first pattern that matches a layer's name; None where none does."""
    return next((pattern for pattern in ratios if fnmatchcase(layer, pattern)), None)


def ratio_of(layers: Iterable[str], ratios: Ratios, row: float) -> float | None:
    """Return the least ratio of layers that are pruned together; None where that is the row's, by which layers compete.

    >>> ratios = {"conv1": 0, "layer?.*": "ratio", "*": 0.5}
    >>> ratio_of(["conv1"], ratios, 0.9), ratio_of(["fc"], ratios, 0.9), ratio_of(["layer1.0"], ratios, 0.9)
    (0, 0.5, None)

    Args:
        layers: names, at least one.
        ratios: of layers, by patterns.
        row: the row's ratio.
    """
    own = [ratios[pattern] if (pattern := pattern_of(layer, ratios)) is not None else "ratio" for layer in layers]
    least = min(row if each == "ratio" else each for each in own)
    return None if least == row and "ratio" in own else least
