"""A bucket of an object store: a request per file, and a put that the store itself refuses where the name is taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from sweeps.storage.backends import File, Upload
from sweeps.storage.backends.retry import RefusedError
from sweeps.storage.backends.uploads import Uploads

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

AT_A_TIME = 16
"""Requests that are under way together."""

LARGEST_PUT = 512 * 2**20
PART = 32 * 2**20
"""Bytes: what is larger is sent in parts. A writer that dies between these leaves parts that no listing shows."""

_UNKNOWN = re.compile(r"\b501\b|not.?implemented", re.IGNORECASE)
"""How a store answers that does not know the condition, and says so."""

_REQUEST = re.compile(r"^Generic (\w+) error: .*? in [\d.]+\w+ (?:after [^-]*)?- ", re.DOTALL)

Result = TypeVar("Result")


class Bucket:
    """The objects below a prefix; a `Backend`."""

    def __init__(
        self,
        store: ObjectStore,
        root: str,
        *,
        well_known: bool,
        deletes_many: bool,
        uploads: Uploads | None = None,
    ) -> None:
        """Take a client of a bucket, whose own retries are off.

        Args:
            store: the client.
            root: the beginning of all names.
            well_known: the store is known to keep what is there where it is asked to; any other is tried first.
            deletes_many: it removes many objects in one request.
            uploads: the unfinished ones of the whole bucket, where they can be asked for.
        """
        self._uploads = uploads
        self._store, self._root, self._deletes_many = store, root.strip("/"), deletes_many
        self._keeps: bool | None = True if well_known else None

    @property
    def never_replaces(self) -> bool:
        """Say whether the store keeps what is there, as far as is known."""
        return self._keeps is not False

    def read(self, name: str) -> bytes:
        """Return an object's bytes."""
        return _told(lambda: obstore.get(self._store, self._path(name)).bytes().to_bytes())

    def exists(self, name: str) -> bool:
        """Say whether there is such an object."""
        try:
            _told(lambda: obstore.head(self._store, self._path(name)))
        except FileNotFoundError:
            return False
        return True

    def list(self, folder: str, *, recursive: bool) -> list[File]:
        """Return the objects of a folder."""
        path = self._path(folder)

        def objects() -> list[ObjectMeta]:
            if not recursive:
                return [*obstore.list_with_delimiter(self._store, path or None)["objects"]]
            return [each for some in obstore.list(self._store, path or None, chunk_size=1000) for each in some]

        return list(self._files(_told(objects), path))

    def few(self, folder: str, most: int) -> Sequence[File] | None:
        """Return the objects of a folder; None where there are more."""
        path = self._path(folder)
        first = _told(lambda: next(iter(obstore.list(self._store, path or None, chunk_size=most + 1)), []))
        return list(self._files(first, path)) if len(first) <= most else None

    def folders(self, folder: str) -> Sequence[str]:
        """Return the names of the folders in a folder."""
        found = _told(lambda: obstore.list_with_delimiter(self._store, self._path(folder) or None))
        return [prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"]]

    def create(self, name: str, data: bytes) -> bool:
        """Put on the condition that there is none of that name."""
        if self._keeps is False:
            if self.exists(name):
                return False
            self.replace(name, data)
            return True
        try:
            created = self._created(name, data)
        except OSError as error:
            if self._keeps is None and _UNKNOWN.search(str(error)):
                self._keeps = False
                return self.create(name, data)
            raise
        if not created:
            self._keeps = True
            return False
        if self._keeps is None:
            # A store that says yes twice does not know the condition. What it replaced was the same.
            self._keeps = not self._created(name, data)
        return True

    def replace(self, name: str, data: bytes) -> None:
        """Put."""
        large = len(data) > LARGEST_PUT
        _told(
            lambda: obstore.put(
                self._store, self._path(name), data, mode="overwrite", use_multipart=large, chunk_size=PART
            )
        )

    def delete(self, names: Sequence[str]) -> None:
        """Remove objects."""
        paths = [self._path(name) for name in names]
        if self._deletes_many and len(paths) > 1:
            _told(lambda: obstore.delete(self._store, paths))
            return

        def delete(path: str) -> None:
            with suppress(FileNotFoundError):
                _told(lambda: obstore.delete(self._store, path))

        if len(paths) == 1:
            delete(paths[0])
            return
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for _ in pool.map(delete, paths):
                pass

    def delete_folder(self, folder: str) -> None:
        """Remove all objects in a folder."""
        names = [f"{folder}/{file.name}" for file in self.list(folder, recursive=True)]
        if names:
            self.delete(names)

    def unfinished(self) -> Sequence[Upload]:
        """Return uploads in parts whose writers died."""
        if self._uploads is None:
            return ()
        start = len(self._root) + 1 if self._root else 0
        found = self._uploads.below(f"{self._root}/" if self._root else "")
        return [each._replace(name=each.name[start:]) for each in found]

    def abort(self, uploads: Sequence[Upload]) -> None:
        """Remove what there is of unfinished uploads."""
        for each in uploads:
            assert self._uploads is not None, "it told of them"
            self._uploads.abort(each._replace(name=self._path(each.name)))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".strip("/") if name else self._root

    def _created(self, name: str, data: bytes) -> bool:
        try:
            # A put in parts knows no such condition.
            _told(lambda: obstore.put(self._store, self._path(name), data, mode="create", use_multipart=False))
        except FileExistsError:
            return False
        return True

    def _files(self, objects: Iterable[ObjectMeta], path: str) -> Iterable[File]:
        start = len(path) + 1 if path else 0
        for each in objects:
            modified = each["last_modified"]
            whole = int(modified.timestamp()) * 10**9 + modified.microsecond * 1000
            if name := each["path"][start:]:
                yield File(name, each["size"], whole)


def _told(action: Callable[[], Result]) -> Result:
    """Make errors of the client errors of the system: one line each.

    Raises:
        FileNotFoundError: there is no such object.
        FileExistsError: there is one.
        OSError: anything else.
    """
    try:
        return action()
    except (AlreadyExistsError, PreconditionError) as error:
        raise FileExistsError(_first_part(error)) from error
    except (PermissionDeniedError, UnauthenticatedError, NotSupportedError) as error:
        raise RefusedError(_first_part(error)) from error
    except BaseError as error:
        raise OSError(_first_part(error)) from error


def _first_part(error: BaseException) -> str:
    """Return what an error says before its client's own notes for developers, without where and how long it asked."""
    said = str(error).partition("Debug source")[0].strip(" \n:")
    return _REQUEST.sub(r"\1: ", said)
