"""Whole files on a disk, a network share or an object store: they appear in one step, or not at all.

What the files mean is told in `store`; how each kind of storage does it, in `backends`.
"""

from __future__ import annotations

import contextvars
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sweeps.errors import StorageError
from sweeps.storage.backends import File, Upload, notices
from sweeps.storage.backends.location import open_location
from sweeps.storage.backends.paths import written_out
from sweeps.storage.backends.retry import SilentError, UnclearError, cause, passes, patiently

AT_A_TIME = 16
"""Requests that are under way together: a far store answers late."""

Result = TypeVar("Result")


class UnreadableError(StorageError):
    """One file cannot be read or understood, and never will; that says nothing of others."""


class Files:
    """The files below one location. Names are relative to it, with `/` between folders.

    Errors that pass by themselves are waited for, for minutes, see `backends.retry`.
    """

    def __init__(self, location: str) -> None:
        """Open a path or a `pyarrow.fs` URI such as `s3://bucket/prefix`.

        Raises:
            StorageError: it cannot be opened, see `backends.location`.
        """
        self.location = written_out(location)
        self._backend = open_location(self.location)

    @property
    def never_replaces(self) -> bool:
        """Say whether of two writers of a name, at whatever moment they come, exactly one is told that it published."""
        return self._backend.never_replaces

    def describe(self, name: str) -> str:
        """Return where a file lies, as a user would write it."""
        if "://" not in self.location:
            return f"{self.location.rstrip('/')}/{name}"
        address, mark, query = self.location.partition("?")
        return f"{address.rstrip('/')}/{name}{mark}{query}"

    def check_writable(self) -> None:
        """Publish and remove an empty file; tell the user where this storage cannot keep two writers apart.

        Raises:
            StorageError: that failed; the message has the cause.
        """
        name = f".write-test-{uuid.uuid4().hex}"
        self.publish(name, b"")
        self.delete(name)
        if not self.never_replaces:
            notices.say(
                f"storage {self.location!r} cannot refuse to write over a file: where two runs finish the same row at "
                "the same moment, the later one stays (leases keep runs from computing the same)"
            )

    def list(self, folder: str, *, recursive: bool = False, hidden: bool = False) -> list[File]:
        """Return the files of a folder, none where there is no such folder. Hidden files are not published ones."""
        found = self._asked("listed", folder, lambda: self._backend.list(folder, recursive=recursive))
        return [file for file in found if hidden or not file.name.rpartition("/")[2].startswith(".")]

    def few(self, folder: str, most: int) -> Sequence[File] | None:
        """Return the files of a folder that has no folders in it; None where there are more than so many, which costs
        no more than to see that many.
        """
        return self._asked("listed", folder, lambda: self._backend.few(folder, most))

    def folders(self, folder: str = "") -> Sequence[str]:
        """Return the names of the folders in a folder."""
        return self._asked("listed", folder, lambda: self._backend.folders(folder))

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            FileNotFoundError: there is none.
            UnreadableError: there is something else of that name, or it may not be read.
            StorageError: the storage does not answer.
        """
        return self._asked("read", name, lambda: self._backend.read(name), UnreadableError)

    def read_many(self, names: Sequence[str]) -> tuple[bytes | None, ...]:
        """Return the bytes of each file, None where there is none; many at a time."""
        return tuple(self._all(self._read_if_there, names))

    def read_jsons(self, names: Sequence[str]) -> tuple[dict[str, Any] | UnreadableError | None, ...]:
        """Return what is in each of some small files, None where there is none, or what is wrong with it; many at a
        time.
        """

        def read(name: str) -> dict[str, Any] | UnreadableError | None:
            try:
                found = from_json(self.read(name))
            except FileNotFoundError:
                return None
            except UnreadableError as error:
                return error
            if isinstance(found, dict):
                return found
            return UnreadableError(f"{self.describe(name)}: found {found}, expected a mapping in JSON")

        return tuple(self._all(read, names))

    def look_into(
        self, names: Sequence[str], field: str, kind: Callable[[Any], bool]
    ) -> tuple[dict[str, Any] | None, ...]:
        """Return what is in each of some small files, None where there is none; many at a time. One that cannot be
        read, or lacks what it is there for, is named, and counts as none.

        Args:
            names: of the files.
            field: that each has.
            kind: says whether its value is one.
        """
        found = []
        for name, said in zip(names, self.read_jsons(names), strict=True):
            wrong: object = said if isinstance(said, UnreadableError) else None
            if isinstance(said, dict) and not kind(said.get(field)):
                wrong = f"{self.describe(name)}: found {in_words(said.get(field))} as {field!r}, expected another"
            if wrong is not None:
                notices.say_once(f"{wrong}; it is left aside")
            found.append(said if isinstance(said, dict) and wrong is None else None)
        return tuple(found)

    def exists(self, name: str) -> bool:
        """Say whether a file is published."""
        return self._asked("read", name, lambda: self._backend.exists(name))

    def existing(self, names: Sequence[str]) -> set[str]:
        """Return those of some files that are published; a request for each, many at a time."""
        found = self._all(self.exists, names)
        return {name for name, there in zip(names, found, strict=True) if there}

    def publish(self, name: str, data: bytes, *, replace: bool = False) -> bool:
        """Make `data` appear as `name` in one step; return whether this call did. The first writer wins.

        Args:
            replace: let the last writer win instead.

        Raises:
            StorageError: it cannot be written; nothing has changed.
        """
        try:
            if replace:
                patiently(self.location, lambda: self._backend.replace(name, data))
                return True
            return self._create(name, data)
        except IsADirectoryError as error:
            raise StorageError(f"{self.describe(name)}: found a folder, expected a file or nothing") from error
        except OSError as error:
            raise StorageError(
                f"storage {self.location!r}: cannot be written ({cause(error)}), expected a writable folder"
            ) from error

    def publish_many(self, names: Sequence[str], data: bytes = b"") -> None:
        """Make the same bytes appear under several names that nobody else writes."""
        for _ in self._all(lambda name: self.publish(name, data, replace=True), names):
            pass

    def delete(self, *names: str) -> None:
        """Remove files; it is no error if they are gone already."""
        if names:
            self._asked("removed", names[0], lambda: self._backend.delete(names))

    def delete_folder(self, name: str) -> None:
        """Remove a folder with all files in it; it is no error if it is gone already."""
        self._asked("removed", name, lambda: self._backend.delete_folder(name))

    def unfinished(self) -> Sequence[Upload]:
        """Return uploads that were begun and not finished, as far as this storage has such and tells."""
        return self._asked("listed", "", self._backend.unfinished)

    def abort(self, uploads: Sequence[Upload]) -> None:
        """Remove what there is of unfinished uploads."""
        if uploads:
            self._asked("removed", uploads[0].name, lambda: self._backend.abort(uploads))

    def _create(self, name: str, data: bytes) -> bool:
        in_doubt = False

        def create() -> bool:
            nonlocal in_doubt
            try:
                if self._backend.create(name, data):
                    return True
                found = self._backend.read(name) == data if in_doubt else self._backend.exists(name)
            except FileNotFoundError:
                found = False
            except OSError as error:
                # It may have been written all the same, and only the answer have been lost.
                in_doubt = in_doubt or passes(error)
                raise
            if not found and not self._backend.exists(name):
                raise UnclearError(f"{name} is there for those who write it, and not for those who read it")
            return in_doubt and found

        return patiently(self.location, create)

    def _asked(
        self, what: str, name: str, action: Callable[[], Result], refused: type[StorageError] = StorageError
    ) -> Result:
        try:
            return patiently(self.location, action)
        except FileNotFoundError:
            raise
        except OSError as error:
            kind = StorageError if passes(error) or isinstance(error, SilentError) else refused
            raise kind(f"{self.describe(name)}: cannot be {what} ({cause(error)})") from error

    def _read_if_there(self, name: str) -> bytes | None:
        try:
            return self.read(name)
        except FileNotFoundError:
            return None

    def _all(self, action: Callable[[str], Result], names: Sequence[str]) -> Iterable[Result]:
        """Do something for each name, many at a time."""
        if len(names) < 2:
            return [action(name) for name in names]
        # Patience goes with the context of whoever asks.
        contexts = [contextvars.copy_context() for _ in names]
        with ThreadPoolExecutor(min(AT_A_TIME, len(names))) as pool:
            return [*pool.map(lambda context, name: context.run(action, name), contexts, names)]


def from_json(data: bytes) -> dict[str, Any] | str:
    """Return what is in a file, or what was found in its stead, in words."""
    if not data:
        return "an empty file"
    try:
        found = json.loads(data)
    except UnicodeDecodeError:
        return "bytes that are no text"
    except (ValueError, RecursionError):
        return "text that is no JSON"
    return found if isinstance(found, dict) else in_words(found)


def in_words(value: Any) -> str:
    """Return what a value of JSON is."""
    kinds = {dict: "a mapping", list: "a list", str: "text", type(None): "nothing"}
    return kinds.get(type(value), json.dumps(value))


def to_json(value: Mapping[str, Any]) -> bytes:
    """Return JSON that people can read."""
    return json.dumps(value, indent=1).encode() + b"\n"
