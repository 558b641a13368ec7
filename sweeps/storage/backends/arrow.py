"""Any file system that Arrow opens, such as HDFS. None of its calls looks and writes in one step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.fs

from sweeps.storage.backends import File, Upload

OBJECT_STORES = ("s3", "gcs", "abfs")
"""By Arrow's names: their folders are nothing but the beginnings of names."""


class ArrowFileSystem:
    """The files below a place of a file system; a `Backend`. Leases have to keep two writers of one name apart."""

    never_replaces = False

    def __init__(self, file_system: pa.fs.FileSystem, root: str) -> None:
        """Take what Arrow opened."""
        self._fs, self._root = file_system, root

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        with self._fs.open_input_stream(self._path(name)) as stream:
            data: bytes = stream.read()
        return data

    def exists(self, name: str) -> bool:
        """Say whether there is such a file."""
        return bool(self._fs.get_file_info(self._path(name)).is_file)

    def list(self, folder: str, *, recursive: bool) -> list[File]:
        """Return the files of a folder."""
        return listed(self._fs, self._path(folder), recursive=recursive)

    def few(self, folder: str, most: int) -> Sequence[File] | None:
        """Return the files of a folder; None where there are more."""
        found = self.list(folder, recursive=False)
        return found if len(found) <= most else None

    def folders(self, folder: str) -> Sequence[str]:
        """Return the names of the folders in a folder."""
        return subfolders(self._fs, self._path(folder))

    def create(self, name: str, data: bytes) -> bool:
        """Look, then write."""
        if self.exists(name):
            return False
        self.replace(name, data)
        return True

    def replace(self, name: str, data: bytes) -> None:
        """Write; an object store shows what is complete."""
        path = self._path(name)
        if self._fs.type_name not in OBJECT_STORES:
            self._fs.create_dir(path.rpartition("/")[0], recursive=True)
        with self._fs.open_output_stream(path) as stream:
            stream.write(data)

    def delete(self, names: Sequence[str]) -> None:
        """Remove files."""
        for name in names:
            with suppress(FileNotFoundError):
                self._fs.delete_file(self._path(name))

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
        return f"{self._root}/{name}" if name else self._root


def listed(file_system: pa.fs.FileSystem, path: str, *, recursive: bool) -> list[File]:
    """Return the files of a folder, none where there is no such folder."""
    selector = pa.fs.FileSelector(path, allow_not_found=True, recursive=recursive)
    prefix = len(path) + 1
    found = file_system.get_file_info(selector)
    return [File(info.path[prefix:], info.size, info.mtime_ns) for info in found if info.is_file]


def subfolders(file_system: pa.fs.FileSystem, path: str) -> list[str]:
    """Return the names of the folders in a folder."""
    found = file_system.get_file_info(pa.fs.FileSelector(path, allow_not_found=True))
    return [info.base_name for info in found if info.type == pa.fs.FileType.Directory]
