"""What lies under `files`: a disk, a bucket of an object store, or any other file system that Arrow knows.

Names are relative to the place that was opened, with `/` between folders. What goes wrong is an OSError; which of them
pass by themselves is told in `retry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class File(NamedTuple):
    """A published file. `name` is relative to the folder that was listed."""

    name: str
    size: int
    modified_ns: int | None


class Upload(NamedTuple):
    """An upload in parts that was begun and not finished: what it would have become, and when it began."""

    name: str
    upload_id: str
    began_ns: int


class Backend(Protocol):
    """Whole files. None of the methods tries again; FileNotFoundError says that there is no such file."""

    @property
    def never_replaces(self) -> bool:
        """Say whether `create` and a look at what is there are one step: of two writers exactly one is told True."""

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""

    def exists(self, name: str) -> bool:
        """Say whether there is such a file; a folder is none."""

    def list(self, folder: str, *, recursive: bool) -> list[File]:
        """Return the files of a folder, hidden ones too; none where there is no such folder."""

    def few(self, folder: str, most: int) -> Sequence[File] | None:
        """Return the files of a folder that has no folders in it; None where there are more, which costs no more."""

    def folders(self, folder: str) -> Sequence[str]:
        """Return the names of the folders in a folder."""

    def create(self, name: str, data: bytes) -> bool:
        """Make a file appear in one step; return False, and change nothing, where there is one of that name."""

    def replace(self, name: str, data: bytes) -> None:
        """Make a file appear in one step, in place of one of that name."""

    def delete(self, names: Sequence[str]) -> None:
        """Remove files; those that are gone already are no error."""

    def delete_folder(self, folder: str) -> None:
        """Remove a folder with all files in it; it is no error if it is gone already."""

    def unfinished(self) -> Sequence[Upload]:
        """Return uploads that were begun and not finished, as far as this storage has such and tells."""

    def abort(self, uploads: Sequence[Upload]) -> None:
        """Remove what there is of unfinished uploads; those that are gone already are no error."""
