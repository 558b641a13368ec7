"""Whole files on a disk, a network share or an object store: they appear in one step, or not at all.

On a disk, bytes are written under a temporary name, flushed, and then linked or renamed; an object store shows an
object when its upload is complete. What the files mean is told in `store`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.fs

from sweeps.errors import StorageError
from sweeps.storage.location import BUCKETS, cause, open_location

READERS = 16
"""Files read at a time by `read_many`."""


class File(NamedTuple):
    """A published file. `name` is relative to the folder that was listed."""

    name: str
    size: int
    modified_ns: int | None


class Files:
    """The files below one location. Names are relative to it, with `/` between folders."""

    def __init__(self, location: str) -> None:
        """Open a path or a `pyarrow.fs` URI such as `s3://bucket/prefix`.

        Raises:
            StorageError: it cannot be opened, see `location`.
        """
        self.location = location
        self._fs, self._root = open_location(location)
        self._local = isinstance(self._fs, pa.fs.LocalFileSystem)

    def describe(self, name: str) -> str:
        """Return where a file lies, as a user would write it."""
        if "://" not in self.location:
            return f"{self.location.rstrip('/')}/{name}"
        address, mark, query = self.location.partition("?")
        return f"{address.rstrip('/')}/{name}{mark}{query}"

    def check_writable(self) -> None:
        """Publish and remove an empty file.

        Raises:
            StorageError: that failed; the message has the cause.
        """
        name = f".write-test-{uuid.uuid4().hex}"
        self.publish(name, b"")
        self.delete(name)

    def list(self, folder: str, *, recursive: bool = False) -> list[File]:
        """Return the files of a folder, none where there is no such folder. Hidden files are not published ones."""
        selector = pa.fs.FileSelector(self._path(folder), allow_not_found=True, recursive=recursive)
        prefix = len(self._path(folder)) + 1
        try:
            found = self._fs.get_file_info(selector)
        except OSError as error:
            raise StorageError(f"{self.describe(folder)}: cannot be listed ({cause(error)})") from error
        return [
            File(info.path[prefix:], info.size, info.mtime_ns)
            for info in found
            if info.is_file and not info.base_name.startswith(".")
        ]

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            FileNotFoundError: there is none.
            StorageError: it cannot be read.
        """
        try:
            with self._fs.open_input_stream(self._path(name)) as stream:
                data: bytes = stream.read()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(f"{self.describe(name)}: cannot be read ({cause(error)})") from error
        return data

    def read_many(self, names: Sequence[str]) -> tuple[bytes | None, ...]:
        """Return the bytes of each file, None where there is none; many at a time, since a far store answers late."""
        with ThreadPoolExecutor(READERS) as pool:
            return tuple(pool.map(self._read_if_there, names))

    def publish(self, name: str, data: bytes, *, replace: bool = False) -> bool:
        """Make `data` appear as `name` in one step; return whether this call did. The first writer wins.

        Args:
            replace: let the last writer win instead.

        Raises:
            StorageError: it cannot be written; nothing has changed.
        """
        try:
            return self._appear(name, data, replace=replace)
        except OSError as error:
            raise StorageError(
                f"storage {self.location!r}: cannot be written ({cause(error)}), expected a writable folder"
            ) from error

    def delete(self, name: str) -> None:
        """Remove a file; it is no error if it is gone already."""
        self._remove(self._fs.delete_file, name)

    def delete_folder(self, name: str) -> None:
        """Remove a folder with all files in it; it is no error if it is gone already."""
        self._remove(self._fs.delete_dir, name)

    def exists(self, name: str) -> bool:
        """Say whether a file is published."""
        try:
            return bool(self._fs.get_file_info(self._path(name)).is_file)
        except OSError as error:
            raise StorageError(f"{self.describe(name)}: cannot be read ({cause(error)})") from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _read_if_there(self, name: str) -> bytes | None:
        try:
            return self.read(name)
        except FileNotFoundError:
            return None

    def _remove(self, remove: Callable[[str], None], name: str) -> None:
        try:
            remove(self._path(name))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(f"{self.describe(name)}: cannot be removed ({cause(error)})") from error

    def _appear(self, name: str, data: bytes, *, replace: bool) -> bool:
        if not self._local:
            # No system call ties the look to the upload: leases keep two writers of one name apart, see `leases`.
            if not replace and self.exists(name):
                return False
            self._write(name, data)
            return True
        folder, _, base = name.rpartition("/")
        temporary = f"{folder}/.{base}.{uuid.uuid4().hex}.tmp"
        try:
            self._write(temporary, data)
            if replace:
                os.replace(self._path(temporary), self._path(name))
            else:
                os.link(self._path(temporary), self._path(name))
        except FileExistsError:
            return False
        finally:
            Path(self._path(temporary)).unlink(missing_ok=True)
        self._sync_folder(folder)
        return True

    def _write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        if self._fs.type_name not in BUCKETS:
            self._fs.create_dir(path.rpartition("/")[0], recursive=True)
        if not self._local:
            with self._fs.open_output_stream(path) as stream:
                stream.write(data)
            return
        with open(path, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _sync_folder(self, folder: str) -> None:
        descriptor = os.open(self._path(folder), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
