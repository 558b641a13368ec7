"""Files that installed packages bundle, found by name: entry points of the group `sweeps.specs` name their folders,
which may have folders of their own.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from importlib.resources.abc import Traversable

GROUP = "sweeps.specs"


def bundled_files(ending: str) -> dict[str, Traversable]:
    """Return the files whose names end so, sorted, by the rest of their names; of a broken package, none."""
    found: dict[str, Traversable] = {}
    for point in entry_points(group=GROUP):
        files, _ = _files(point)
        found |= {file.name.removesuffix(ending): file for file in files if file.name.endswith(ending)}
    return dict(sorted(found.items()))


def broken() -> Iterator[str]:
    """Yield a sentence per package whose folder cannot be read, with the cause."""
    for point in entry_points(group=GROUP):
        _, cause = _files(point)
        if cause:
            yield f"specs {point.name!r} of {source_of(point)} cannot be read from {point.value}: {cause}"


def source_of(point: EntryPoint) -> str:
    """Return which distribution an entry point is of, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown distribution"


def _files(point: EntryPoint) -> tuple[list[Traversable], str]:
    try:
        return list(_within(importlib.resources.files(point.value))), ""
    except (Exception, SystemExit) as error:  # a foreign package may raise anything when it is imported
        return [], cause_of(error)


def _within(folder: Traversable) -> Iterator[Traversable]:
    """Yield the files of a folder, and of those in it."""
    for each in folder.iterdir():
        if each.is_file():
            yield each
        elif not each.name.startswith(("_", ".")):
            yield from _within(each)


def cause_of(error: BaseException) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
