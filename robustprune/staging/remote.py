"""What is behind a URI: which files there are, and their bytes; refusals are one sentence, and outages are sat out."""

from __future__ import annotations

import base64
import contextlib
import functools
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.fs

from robustprune.core.errors import InputError

BLOCK = 8 * 2**20
"""Bytes that are asked for at a time."""

PATIENCE_S = 120.0
"""How long a request is tried again, besides what the client does by itself."""

GOOGLE_RETRY_S = 30
"""How long Arrow's client of Google's store tries a request again; it would go on for 15 minutes."""

FIRST_WAIT_S, LONGEST_WAIT_S, SAID_AFTER_S = 0.5, 10.0, 5.0

CREDENTIALS = (
    "expected credentials in the environment of every node (for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for "
    "Google: GOOGLE_APPLICATION_CREDENTIALS, or a role of the machine)"
)

# What stands between `user:` and `@`; the number in `host:8020/` is a port.
_PASSWORD = re.compile(r"://[^/@:?]*:(?!\d+([/?&]|$)).*@")
_SECRET_OPTION = re.compile(r"[?&][^=&]*(secret|password|token|key|sig)[^=&]*=", re.IGNORECASE)

_NAMES = re.compile(r"'[^']*'|\w+://\S*")
"""Users name buckets and files as they like."""

_DENIED = re.compile(
    r"access.?denied|forbidden|invalid_access_key|signature|unrecognized_client|expired_?token|invalid_?token"
    r"|unauthenticated|permission.?denied|oauth2|credentials",
    re.IGNORECASE,
)
_NO_BUCKET = re.compile(r"no.?such.?bucket|bucket\s+not found", re.IGNORECASE)
_NOBODY = re.compile(r"curlCode: [67]\b|could not connect|could not resolve", re.IGNORECASE)
_UNUSABLE = re.compile(r"libjvm|libhdfs|not (built|compiled) with", re.IGNORECASE)

_OBJECT_STORES = ("s3", "gcs", "abfs")
"""By Arrow's names: their listings of a missing bucket are empty."""

Result = TypeVar("Result")


class UnreachableError(InputError):
    """Nobody answers there now."""


class RemoteFile(NamedTuple):
    """A file as a listing has it; where either is another, so is the file."""

    size: int
    modified_ns: int | None


class Checksum(NamedTuple):
    """What a store says of an object's bytes.

    Attributes:
        md5: in hexadecimal digits; of the bytes, or, with `parts`, of the MD5 of the only part.
        parts: it was put in parts.
        sure: it can be nothing but that: a tag of S3's is something else where objects are encrypted with own keys.
    """

    md5: str
    parts: bool = False
    sure: bool = False


class Remote:
    """The files below a URI, or the one file that it names."""

    def __init__(self, uri: str, field: str) -> None:
        """Take a URI; nobody is asked yet.

        Args:
            uri: such as s3://bucket/coco.
            field: the setting that names it, for messages.

        Raises:
            InputError: it holds a secret.
        """
        self.uri, self.field = uri, field
        # The spec is printed, stored and sent to every node: a secret in it would be, too.
        if _PASSWORD.search(uri) or _SECRET_OPTION.search(uri):
            raise InputError(f"{field}: {uri.partition('://')[0]}://…: found credentials in the URI, {CREDENTIALS}")
        self.is_file = self._said_so = False

    @functools.cached_property
    def _place(self) -> tuple[pa.fs.FileSystem, str]:
        """The file system, and where it is there, without `/` at the end."""
        file_system, root = self._patiently(lambda: open_uri(self.uri), first=True)
        return file_system, root.rstrip("/") or root

    def files(self) -> dict[str, RemoteFile]:
        """Return all files by their names below the URI; where that is of one file, by its own. Sets `is_file`.

        Raises:
            UnreachableError: nobody answers.
            InputError: there is nothing, or it may not be read.
        """
        file_system, path = self._place
        if not path:
            raise InputError(f"{self.field}: {self.uri}: found no bucket, expected one, as in s3://bucket/coco")
        info = self._patiently(lambda: file_system.get_file_info(path), first=True)
        if info.type == pa.fs.FileType.NotFound:
            raise self._nothing()
        self.is_file = bool(info.is_file)
        if self.is_file:
            return {info.base_name: _of(info)}
        selector = pa.fs.FileSelector(path, recursive=True)
        found = self._patiently(lambda: file_system.get_file_info(selector))
        below = len(path) + 1
        files = {info.path[below:]: _of(info) for info in found if info.is_file}
        # No path of a file system says these.
        files = {name: file for name, file in files.items() if not {"", ".", ".."} & {*name.split("/")}}
        if not files:
            raise self._nothing()
        return files

    def is_still(self, name: str, file: RemoteFile) -> bool:
        """Say whether a file is the one that was listed."""
        info = self._patiently(lambda: self._place[0].get_file_info(self._path(name)))
        return bool(info.is_file) and _of(info) == file

    def read(self, name: str, take: Callable[[bytes], None], *, start: Callable[[], int]) -> Checksum | None:
        """Hand over the bytes of a file, block by block; return what the store says of the whole.

        Args:
            name: of the file.
            take: takes the next bytes.
            start: says how many were taken already; asked again after an outage.

        Raises:
            UnreachableError: the store did not answer for long.
            InputError: the file may not be read, or is gone.
        """

        def blocks() -> Checksum | None:
            with self._place[0].open_input_file(self._path(name)) as stream:
                said = checksum(stream.metadata() or {})
                stream.seek(start())
                while block := stream.read(BLOCK):
                    # What goes wrong there is no fault of the store.
                    with _as_local_error():
                        take(block)
                return said

        return self._patiently(blocks, so_far=start)

    def _path(self, name: str) -> str:
        return self._place[1] if self.is_file else f"{self._place[1]}/{name}"

    def _nothing(self) -> InputError:
        file_system, path = self._place
        bucket = path.partition("/")[0]
        if file_system.type_name in _OBJECT_STORES:
            info = self._patiently(lambda: file_system.get_file_info(bucket))
            if info.type == pa.fs.FileType.NotFound:
                return InputError(f"{self.field}: {self.uri}: found no bucket {bucket!r}, expected one that exists")
        return InputError(f"{self.field}: {self.uri}: found nothing there, expected a folder of files, or a file")

    def _patiently(
        self, action: Callable[[], Result], *, first: bool = False, so_far: Callable[[], int] = lambda: 0
    ) -> Result:
        """Do something, again and again while it fails for reasons that pass.

        Args:
            action: a request.
            first: nobody has answered before, so that an address may be wrong.
            so_far: says what was reached; where that is more than before, patience begins anew.
        """
        since, wait, reached = time.monotonic(), FIRST_WAIT_S, so_far()
        while True:
            try:
                return action()
            except _LocalError as error:
                raise error.cause from error
            except pa.ArrowInvalid as error:
                raise InputError(
                    f"{self.field}: {self.uri}: found {_cause(error)}, expected a path, or a URI such as "
                    "s3://bucket/coco or gs://bucket/coco"
                ) from error
            except (OSError, pa.ArrowException) as error:
                why, told = _cause(error), _NAMES.sub("", str(error))
                if so_far() != reached:
                    since, wait, reached = time.monotonic(), FIRST_WAIT_S, so_far()
                waited = time.monotonic() - since
                if isinstance(error, FileNotFoundError):
                    raise InputError(
                        f"{self.field}: {self.uri}: a file is gone ({why}), expected it to stay"
                    ) from error
                if _NO_BUCKET.search(told):
                    raise InputError(f"{self.field}: {self.uri}: found no such bucket ({why})") from error
                if isinstance(error, PermissionError) or _DENIED.search(told):
                    raise InputError(f"{self.field}: {self.uri}: access denied ({why}), {CREDENTIALS}") from error
                final = _UNUSABLE.search(told) or (first and _NOBODY.search(told))
                if final or waited > PATIENCE_S:
                    raise UnreachableError(f"{self.field}: {self.uri}: cannot be reached ({why})") from error
                if not self._said_so and waited > SAID_AFTER_S:
                    self._said_so = True
                    print(f"{self.uri} does not answer ({why}); trying again", file=sys.stderr, flush=True)
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)


def open_uri(uri: str) -> tuple[pa.fs.FileSystem, str]:
    """Return Arrow's file system of a URI, and the place in it."""
    if uri.startswith(("gs:", "gcs:")) and "retry_limit_seconds" not in uri:
        uri = f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={GOOGLE_RETRY_S}"
    file_system, path = pa.fs.FileSystem.from_uri(uri)
    return file_system, path


def checksum(metadata: Mapping[str, bytes]) -> Checksum | None:
    """Return the MD5 that a store tells of an object, if it does.

    Google's has a field of its own. A tag of S3's (ETag) is the MD5 of an object that was put as one, and that of the
    parts' MD5s, with their number, of others; of these the one part can be checked.
    """
    said = {name: value.decode(errors="replace") for name, value in metadata.items()}
    if md5 := said.get("md5Hash"):
        return Checksum(base64.b64decode(md5).hex(), sure=True)
    tag = re.fullmatch(r'"?([0-9a-f]{32})(-1)?"?', said.get("ETag", ""))
    return Checksum(tag[1], parts=tag[2] is not None) if tag else None


class _LocalError(Exception):
    """Something went wrong on this machine while bytes of another were taken."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@contextlib.contextmanager
def _as_local_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _LocalError(error) from error


def _of(info: pa.fs.FileInfo) -> RemoteFile:
    return RemoteFile(info.size, info.mtime_ns)


def _cause(error: BaseException) -> str:
    """Return why Arrow or the store refused, in one line."""
    return textwrap.shorten(re.sub(r"\s*\(Request ID: [^)]*\)", "", str(error)).rstrip(" ."), 300, placeholder=" …")
