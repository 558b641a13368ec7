"""A folder of a disk or a network share: bytes go under a temporary name, are flushed, and then appear in one step."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.fs

from sweeps.storage.backends import Upload
from sweeps.storage.backends.arrow import ArrowFileSystem

Result = TypeVar("Result")

_NOT_SUPPORTED = {
    getattr(errno, name) for name in ("EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EPERM") if hasattr(errno, name)
}
"""How file systems say that they know no hard links, or cannot flush a folder: exFAT, gcsfuse, s3fs, some NFS."""

STALE_S = 60.0
"""Seconds after which whoever holds the lock of a name counts as dead: it is held for two small requests. That two who
wait take over one lock at the same moment is left to the leases.
"""


class Disk(ArrowFileSystem):
    """The files below a folder: looked at as Arrow does, and written in our own way."""

    never_replaces = True

    def __init__(self, root: str) -> None:
        """Take the folder, which need not be there yet."""
        super().__init__(pa.fs.LocalFileSystem(), root.rstrip("/"))

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        with open(self._path(name), "rb") as file:
            return file.read()

    def create(self, name: str, data: bytes) -> bool:
        """Link what was written: the system refuses where the name is taken. Where there are no links, a lock keeps
        other writers out while this one looks and renames.
        """

        def appear(temporary: str, final: str) -> bool:
            try:
                os.link(temporary, final)
            except FileExistsError:
                if os.path.isdir(final):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), final) from None
                # A network share may have linked, lost its answer, and been asked again by its own client.
                return os.stat(temporary).st_nlink > 1
            except OSError as error:
                if error.errno not in _NOT_SUPPORTED:
                    raise
                return _renamed(temporary, final)
            return True

        return self._written(name, data, appear)

    def replace(self, name: str, data: bytes) -> None:
        """Rename what was written."""
        self._written(name, data, os.replace)

    def delete(self, names: Sequence[str]) -> None:
        """Remove files."""
        for name in names:
            with suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(self._path(name))

    def delete_folder(self, folder: str) -> None:
        """Remove a folder with all files in it."""
        with suppress(FileNotFoundError):
            self._fs.delete_dir(self._path(folder))

    def unfinished(self) -> Sequence[Upload]:
        """Return nothing: nobody tells."""
        return ()

    def abort(self, uploads: Sequence[Upload]) -> None:
        """Remove nothing."""

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root or "/"

    def _written(self, name: str, data: bytes, appear: Callable[[str, str], Result]) -> Result:
        """Write under a temporary name, then let that appear under its own; leave nothing else behind."""
        path = Path(self._path(name))
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            self._write(temporary, data)
            found = appear(str(temporary), str(path))
        finally:
            # Whatever it says now must not hide why writing failed.
            with suppress(OSError):
                temporary.unlink()
        self._sync_folder(path.parent)
        return found

    def _write(self, path: Path, data: bytes) -> None:
        try:
            file = open(path, "wb")  # noqa: SIM115
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "wb")  # noqa: SIM115
        with file:
            file.write(data)
            file.flush()
            _sync(file.fileno())

    def _sync_folder(self, folder: Path) -> None:
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except PermissionError:
            return  # one may write into it without listing it
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)


def _sync(descriptor: int) -> None:
    """Have the system flush a file or a folder, where it can: EBADF is how some say it of a folder open for reading."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED | {errno.EBADF}:
            raise


def _renamed(temporary: str, final: str) -> bool:
    """Give a file its name unless there is one of that name; return whether it has it now."""
    folder, name = os.path.split(final)
    lock, since = os.path.join(folder, f".{name}.lock.tmp"), time.monotonic()
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            if os.path.exists(final):
                return False
        if time.monotonic() - since > STALE_S:
            since = time.monotonic()
            with suppress(FileNotFoundError):
                os.unlink(lock)
        time.sleep(0.02)
    try:
        if os.path.exists(final):
            return False
        os.rename(temporary, final)
        return True
    finally:
        with suppress(FileNotFoundError):
            os.unlink(lock)
