"""A location as people type it, written out or refused: no shell has expanded what is quoted or stands after a `=`, and
a URI with a slash too few would become a folder of that odd name.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from sweeps.errors import StorageError

_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<rest>(?!//).*)", re.DOTALL)
_SCHEMES = (
    "s3",
    "s3a",
    "s3n",
    "gs",
    "gcs",
    "abfs",
    "abfss",
    "wasb",
    "wasbs",
    "az",
    "hdfs",
    "viewfs",
    "http",
    "https",
    "dbfs",
    "file",
)
_MEANT = {
    "dbfs": "/dbfs/{}, where Databricks mounts it",
    "file": "/{}",
    "http": "a path or a URI such as s3://bucket/runs",
    "https": "a path or a URI such as s3://bucket/runs",
}
"""Where it is not the same with two slashes."""

_LOCAL = re.compile(r"file://(?:localhost)?(/[^?#]*)")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def written_out(location: str) -> str:
    """Return a path with the home folder and variables in it, and a URI as it is.

    Raises:
        StorageError: it is neither, such as an empty text, `s3:/bucket` or `C:\\runs`.
    """
    if not location or location != location.strip():
        found = "spaces around it" if location.strip() else "nothing"
        raise StorageError(f"storage {location!r}: found {found}, expected a path or a URI such as s3://bucket/runs")
    if "~" in (folder_of(location) or "").split("/")[1:]:
        raise StorageError(f"storage {location!r}: found ~ within a path, where it is no home folder, expected a path")
    if "://" in location:
        return location
    if _DRIVE.match(location) and os.name != "nt":
        raise StorageError(f"storage {location!r}: found a path of Windows, expected one of this system, such as runs")
    uri = _URI.fullmatch(location)
    if uri and (uri["scheme"].lower() in _SCHEMES or uri["rest"].startswith("/")):
        rest = uri["rest"].lstrip("/")
        meant = _MEANT.get(uri["scheme"].lower(), f"{uri['scheme']}://{{}}").format(rest)
        raise StorageError(f"storage {location!r}: found {uri['scheme']}: without two slashes, expected {meant}")
    return _expanded(location)


def folder_of(location: str) -> str | None:
    """Return the folder that a location is, of a path or a `file:` URI; None of any other URI, and of a host's files.

    Letters that a URI should write as `%20` are taken as they are.
    """
    if "://" not in location:
        return location
    local = _LOCAL.fullmatch(location)
    return unquote(local[1]) if local else None


def _expanded(location: str) -> str:
    """Return a path without `~` and variables."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in os.environ:
            raise StorageError(f"storage {location!r}: found a variable {name}, which is not set, expected a path")
        return os.environ[name]

    # Only where it is all of a folder's name: names may have a dollar in them.
    parts = [_VARIABLE.sub(value, part) if _VARIABLE.fullmatch(part) else part for part in location.split("/")]
    path = os.path.expanduser("/".join(parts))
    if path.startswith("~"):
        user = path.partition("/")[0]
        raise StorageError(f"storage {location!r}: found no home folder of {user}, expected a path")
    return path
