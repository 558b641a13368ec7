"""Every picture of a data set, opened and decoded once before anything is computed; what was found is remembered.

A training of days is not to end at a file that was cut off in the last epoch.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from robustprune.core.errors import InputError
from robustprune.core.images.reading import Kind, read_rgb

VERSION = 2
"""Of what is remembered; raised by hand where the reader takes less for whole, or tells more."""


class Checked(NamedTuple):
    """A picture that can be decoded.

    Attributes:
        kind: what its file says of it.
        sha256: of the file.
    """

    kind: Kind
    sha256: str


class _Stamp(NamedTuple):
    """What changes with a file."""

    size: int
    modified_ns: int


def check_pictures(
    paths: Sequence[Path], *, memory: Path, tell: Callable[[int], object] = lambda done: None
) -> list[Checked]:
    """Decode every picture that is not remembered, in as many threads as there are cores.

    Args:
        paths: of the files.
        memory: folder where it is remembered which files were whole, by their size and time stamp, so that they are
            not decoded again. One that cannot be written is no error.
        tell: called with the number of pictures done so far.

    Raises:
        InputError: files are missing or damaged; the first is named, and how many there are.
    """
    remembered = _Memory(memory)
    found: dict[int, Checked] = {}
    damaged: dict[int, InputError] = {}
    pool = ThreadPoolExecutor()
    try:
        jobs = {}
        for index, path in enumerate(paths):
            known = remembered.get(path)
            if known is not None:
                found[index] = known
            else:
                jobs[pool.submit(_decoded, path)] = index
        for job in as_completed(jobs):
            index = jobs[job]
            try:
                stamp, found[index] = job.result()
            except InputError as error:
                damaged[index] = error
            else:
                remembered.add(paths[index], stamp, found[index])
            tell(len(found) + len(damaged))
    finally:
        pool.shutdown(cancel_futures=True)
        remembered.save()
    if damaged:
        others = f"; {len(damaged) - 1} more pictures cannot be read either" if len(damaged) > 1 else ""
        raise InputError(f"{damaged[min(damaged)]}{others}")
    return [found[index] for index in range(len(paths))]


def _decoded(path: Path) -> tuple[_Stamp, Checked]:
    try:
        # Before the content: a file that is written meanwhile is decoded again next time.
        stamp = _stamp(path)
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected an image file") from None
    _, kind = read_rgb(io.BytesIO(content), str(path))
    return stamp, Checked(kind, hashlib.sha256(content).hexdigest())


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return _Stamp(status.st_size, status.st_mtime_ns)


class _Memory:
    """What was found of whole pictures, a file for each folder of them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[Path, dict[str, list[int | str]]] = {}
        self._changed: set[Path] = set()

    def get(self, path: Path) -> Checked | None:
        try:
            size, modified_ns, width, height, mode, orientation, sha256 = self._folder(path)[path.name]
            if _stamp(path) != (size, modified_ns):
                return None
        except (KeyError, ValueError, TypeError, OSError):
            return None
        return Checked(Kind(int(width), int(height), str(mode), int(orientation)), str(sha256))

    def add(self, path: Path, stamp: _Stamp, found: Checked) -> None:
        self._folder(path)[path.name] = [*stamp, *found.kind, found.sha256]
        self._changed.add(path.parent)

    def save(self) -> None:
        """Keep what is new; another process may do so at once, and the last one's is kept."""
        for folder in self._changed:
            content = json.dumps({"version": VERSION, "folder": str(folder), "pictures": self._folders[folder]})
            with contextlib.suppress(OSError):
                self._root.mkdir(parents=True, exist_ok=True)
                with tempfile.NamedTemporaryFile("w", dir=self._root, encoding="utf-8", delete=False) as file:
                    file.write(content)
                os.replace(file.name, self._file(folder))

    def _folder(self, path: Path) -> dict[str, list[int | str]]:
        if path.parent not in self._folders:
            try:
                content = json.loads(self._file(path.parent).read_bytes())
                pictures = content["pictures"] if content["version"] == VERSION else {}
            except (OSError, ValueError, KeyError, TypeError):
                pictures = {}
            self._folders[path.parent] = pictures if isinstance(pictures, dict) else {}
        return self._folders[path.parent]

    def _file(self, folder: Path) -> Path:
        return self._root / f"{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]}.json"
