"""Opening a location: a path or a `pyarrow.fs` URI becomes a file system, or one sentence on what is wrong with it."""

from __future__ import annotations

import os
import re
import socket
import textwrap
from pathlib import Path

import pyarrow as pa
import pyarrow.fs

from sweeps.errors import StorageError

BUCKETS = ("s3", "gcs", "abfs")
"""Object stores, by Arrow's names: their folders are nothing but the beginnings of names."""

CONNECT_TIMEOUT_S = 10.0

GCS_RETRY_S = 30
"""How long a request to Google's store is tried again; its client would go on for 15 minutes."""

# What stands between `user:` and `@`; the number in `host:8020/` is a port.
_PASSWORD = re.compile(r"://[^/@:?]*:(?!\d+([/?&]|$)).*@")
_SECRET_OPTION = re.compile(r"[?&][^=&]*(secret|password|token|key|sig)[^=&]*=", re.IGNORECASE)
_ENDPOINT = re.compile(r"[?&]endpoint_override=(?:https?://)?(?P<host>[^:/&]+):(?P<port>\d+)")


def open_location(location: str) -> tuple[pa.fs.FileSystem, str]:
    """Return the file system of a location, and the place in it.

    Raises:
        StorageError: the URI has no known scheme or holds a secret, nobody answers there, or there is no such bucket.
    """
    if "://" not in location:
        return pa.fs.LocalFileSystem(), str(Path(location).absolute())
    # The location is printed, and travels with every job: a secret in it would too.
    if _PASSWORD.search(location) or _SECRET_OPTION.search(location):
        raise StorageError(
            f"storage {location.partition('://')[0]}://…: found credentials in the URI, expected them in the "
            "environment of every node (for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or an instance role)"
        )
    try:
        _check_reachable(location)
        file_system, root = pa.fs.FileSystem.from_uri(_impatient(location))
        bucket = root.partition("/")[0]
        # The listing of a missing bucket is empty, as if nothing had been computed yet.
        if file_system.type_name in BUCKETS and file_system.get_file_info(bucket).type == pa.fs.FileType.NotFound:
            raise StorageError(f"storage {location!r}: found no bucket {bucket!r}, expected one that exists")
    except pa.ArrowException as error:
        raise StorageError(f"storage {location!r}: found {cause(error)}, expected a path or a URI") from error
    except OSError as error:
        raise StorageError(f"storage {location!r}: cannot be reached ({cause(error)})") from error
    return file_system, root


def cause(error: Exception) -> str:
    """Return why Arrow or the system refused, in one line."""
    number = getattr(error, "errno", None) or 0
    return os.strerror(number) if number > 0 else textwrap.shorten(str(error), 300)


def _check_reachable(location: str) -> None:
    """Knock at an endpoint first: where nobody listens, the clients of object stores try again for minutes."""
    endpoint = _ENDPOINT.search(location)
    if endpoint is not None:
        socket.create_connection((endpoint["host"], int(endpoint["port"])), CONNECT_TIMEOUT_S).close()


def _impatient(location: str) -> str:
    if not location.startswith(("gs:", "gcs:")) or "retry_limit_seconds" in location:
        return location
    return f"{location}{'&' if '?' in location else '?'}retry_limit_seconds={GCS_RETRY_S}"
