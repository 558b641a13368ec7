"""Files that installed packages bundle, found by name: entry points of the group `sweeps.specs` name their folders."""

from __future__ import annotations

import importlib.resources
from importlib.metadata import entry_points
from importlib.resources.abc import Traversable


def bundled_files(ending: str) -> dict[str, Traversable]:
    """Return the files whose names end so, sorted, by the rest of their names."""
    found: dict[str, Traversable] = {}
    for point in entry_points(group="sweeps.specs"):
        for file in importlib.resources.files(point.value).iterdir():
            if file.name.endswith(ending):
                found[file.name.removesuffix(ending)] = file
    return dict(sorted(found.items()))
