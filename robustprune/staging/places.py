"""Paths that stand for what is elsewhere: those of this process that are copies, and of what."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.fs

from robustprune.core.errors import InputError
from robustprune.staging.copies import Copy, open_copy

_copies: dict[str, Copy] = {}
"""By URI; a process sees a place as it was when it first asked."""

_lock = threading.RLock()


def opened(place: str, field: str) -> Path:
    """Return the path that stands for a place: itself, if it is one. Of what is elsewhere nothing is copied yet.

    Args:
        place: a path, or a URI such as s3://bucket/coco.
        field: the setting that names it, for messages.

    Raises:
        InputError: it is no URI that is known or can be reached, or there is nothing.
    """
    if "://" not in place:
        return Path(place)
    if place.startswith("file:"):
        return _of_this_machine(place, field)
    return _copy(place, field).path


def local(place: str, field: str, *, parts: Sequence[str] = ()) -> Path:
    """Return the path that stands for a place, with all that is needed of it.

    Args:
        place: a path, or a URI such as s3://bucket/coco.
        field: the setting that names it, for messages.
        parts: files and folders in it that are needed, as far as they are there; all by default.

    Raises:
        InputError: see `opened`; or nothing of that is there, or it cannot be copied.
    """
    path = opened(place, field)
    copy = _copies.get(place)
    if copy is not None:
        needed = [name for name in copy.files if not parts or copy.path != copy.folder or _is_in(name, parts)]
        if not needed:
            there = ", ".join(sorted({name.partition("/")[0] for name in copy.files})[:10])
            raise InputError(f"{field}: {place}: found {there}, expected {' or '.join(parts)}")
        copy.fetch(needed)
    return path


def fetch(paths: Iterable[Path]) -> None:
    """Copy the files that paths stand for; those of this machine are passed over.

    Raises:
        InputError: see `local`.
    """
    wanted: dict[str, list[str]] = {}
    if not _copies:
        return
    for path in paths:
        if found := _found(path):
            wanted.setdefault(found[0].uri, []).append(found[1])
    for uri, names in wanted.items():
        _copies[uri].fetch(names)


def listed(folder: Path) -> frozenset[str] | None:
    """Return the names of the files that are in a folder that stands for one elsewhere; None where it does not."""
    found = _found(folder)
    if found is None:
        return None
    copy, name = found
    return frozenset(os.path.basename(each) for each in copy.files if os.path.dirname(each) == name)


def listed_below(folder: Path) -> list[str] | None:
    """Return the paths of all files below a folder that stands for one elsewhere, relative to it, in order.

    None where it does not.
    """
    found = _found(folder)
    if found is None:
        return None
    copy, name = found
    start = f"{name}/" if name else ""
    return sorted(each.removeprefix(start) for each in copy.files if each.startswith(start))


def shown(path: Path) -> str:
    """Return how a user knows a path: by its URI, where it stands for something elsewhere."""
    found = _found(path)
    return str(path) if found is None else f"{_address(found[0])}/{found[1]}"


@contextlib.contextmanager
def told_by_uri() -> Iterator[None]:
    """Let complaints about files that stand for others name those.

    Raises:
        InputError: whatever is complained about.
    """
    try:
        yield
    except InputError as error:
        told = str(error)
        for copy in [*_copies.values()]:
            told = told.replace(str(copy.folder), _address(copy))
        if told == str(error):
            raise
        raise InputError(told) from error


def _copy(uri: str, field: str) -> Copy:
    with _lock:
        if uri not in _copies:
            _copies[uri] = open_copy(uri, field)
        return _copies[uri]


def _of_this_machine(uri: str, field: str) -> Path:
    try:
        _, path = pa.fs.FileSystem.from_uri(uri)
    except pa.ArrowException as error:
        raise InputError(f"{field}: {uri}: found {error}, expected a path, or file:///PATH") from error
    return Path(path)


def _found(path: Path) -> tuple[Copy, str] | None:
    """Return the copy that a path is in, and the name of the file or folder there."""
    asked = os.path.normpath(path)
    for copy in [*_copies.values()]:
        folder = str(copy.folder)
        if asked == folder or asked.startswith(f"{folder}/"):
            return copy, asked[len(folder) + 1 :]
    return None


def _address(copy: Copy) -> str:
    """Return the URI of a copy's folder without the options at its end."""
    return copy.address if copy.path == copy.folder else copy.address.rpartition("/")[0]


def _is_in(name: str, parts: Sequence[str]) -> bool:
    return any(name == part or name.startswith(f"{part}/") for part in parts)
