"""Which pictures were whole when they were last decoded, remembered from one command to the next.

It only saves time: what is lost, to another process that writes at once or to the bounds here, is decoded again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from robustprune.core.files import write_whole
from robustprune.core.images.reading import Kind

VERSION = 3
"""Of what is remembered; raised by hand where the reader takes less for whole, or tells more."""

LONGEST_UNUSED = 90 * 24 * 3600.0
"""Seconds after which a folder of pictures is forgotten if no command has asked for it."""

MOST_BYTES = 256 * 2**20
"""On disk, for all folders of pictures, about 150 for each picture; those that were asked for longest ago go first."""


class Checked(NamedTuple):
    """A picture that can be decoded.

    Attributes:
        kind: what its file says of it.
        sha256: of the file.
    """

    kind: Kind
    sha256: str


class Stamp(NamedTuple):
    """What changes with a file."""

    size: int
    modified_ns: int


def stamp(path: Path) -> Stamp:
    """Return the stamp of a file.

    Raises:
        OSError: there is none.
    """
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns)


Entries = dict[str, list[int | str]]


class PictureMemory:
    """What was found of whole pictures, a file for each folder of them."""

    def __init__(self, root: Path) -> None:
        """Take the folder of those files, which is made where there is something to keep."""
        self._root = root
        self._folders: dict[Path, Entries] = {}
        self._new: dict[Path, Entries] = {}

    def get(self, path: Path) -> Checked | None:
        """Return what was found of a picture, if its file is still the same."""
        if path.parent not in self._folders:
            self._folders[path.parent] = self._read(path.parent)
        try:
            size, modified_ns, width, height, mode, orientation, sha256 = self._folders[path.parent][path.name]
            if stamp(path) != (size, modified_ns):
                return None
        except (KeyError, ValueError, TypeError, OSError):
            return None
        return Checked(Kind(int(width), int(height), str(mode), int(orientation)), str(sha256))

    def add(self, path: Path, when: Stamp, found: Checked) -> None:
        """Take note of a whole picture."""
        self._new.setdefault(path.parent, {})[path.name] = [*when, *found.kind, found.sha256]

    def save(self) -> None:
        """Keep what is new beside what other processes have kept, and forget what is gone, old or too much."""
        for folder in self._folders.keys() | self._new.keys():
            with contextlib.suppress(OSError):
                if folder in self._new:
                    self._write(folder)
                else:
                    # Its time stamp tells when it was last of use.
                    os.utime(self._file(folder))
        self._forget()

    def _write(self, folder: Path) -> None:
        known = self._read(folder) | self._new[folder]
        with os.scandir(folder) as entries:
            there = {entry.name for entry in entries}
        pictures = {name: known[name] for name in known.keys() & there}
        self._root.mkdir(parents=True, exist_ok=True)
        said = {"version": VERSION, "folder": str(folder), "pictures": pictures}
        write_whole(self._file(folder), json.dumps(said))

    def _read(self, folder: Path) -> Entries:
        try:
            content = json.loads(self._file(folder).read_bytes())
            pictures = content["pictures"] if content["version"] == VERSION else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return pictures if isinstance(pictures, dict) else {}

    def _forget(self) -> None:
        """Remove what is too old or too much: also what a process that was ended left half-written."""
        files: list[tuple[float, int, str]] = []
        with contextlib.suppress(OSError), os.scandir(self._root) as entries:
            for entry in entries:
                # Another process may remove it at any moment.
                with contextlib.suppress(OSError):
                    if entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        files.append((status.st_mtime, status.st_size, entry.path))
        total = 0
        for used, size, path in sorted(files, reverse=True):
            total += size
            if total > MOST_BYTES or time.time() - used > LONGEST_UNUSED:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def _file(self, folder: Path) -> Path:
        return self._root / f"{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]}.json"
