"""Opening a location: a path or a `pyarrow.fs` URI becomes a backend, or one sentence on what is wrong with it."""

from __future__ import annotations

import configparser
import errno
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
import pyarrow.fs

from sweeps.errors import StorageError
from sweeps.storage.backends import Backend
from sweeps.storage.backends.arrow import OBJECT_STORES, ArrowFileSystem
from sweeps.storage.backends.disk import Disk
from sweeps.storage.backends.paths import folder_of
from sweeps.storage.backends.retry import RefusedError, cause, patiently

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSConfig, ObjectStore, RetryConfig, S3Config

    from sweeps.storage.backends.bucket import Bucket
    from sweeps.storage.backends.uploads import Uploads

CONNECT_TIMEOUT_S = 10.0

GCS_RETRY_S = 30
"""How long Arrow's client of Google's store tries a request again; it would go on for 15 minutes."""

# What stands between `user:` and `@`; the number in `host:8020/` is a port.
_PASSWORD = re.compile(r"://[^/@:?]*:(?!\d+([/?&]|$)).*@")
_SECRET_OPTION = re.compile(r"[?&][^=&]*(secret|password|token|key|sig)[^=&]*=", re.IGNORECASE)
_ENDPOINT = re.compile(r"[?&]endpoint_override=(?:https?://)?(?P<host>[^:/&]+):(?P<port>\d+)")

_AZURE_HOST = re.compile(r"(?P<account>[a-z0-9]+)\.(?:blob|dfs)\.core\.windows\.net")

_CLIENT: ClientConfig = {
    "connect_timeout": f"{CONNECT_TIMEOUT_S:.0f}s",
    # Of the whole request: large checkpoints take their time. One that stands still is noticed by the second, which an
    # upload of `bucket.LARGEST_PUT` has to keep, too.
    "timeout": "3h",
    "read_timeout": "300s",
}
_NO_RETRIES: RetryConfig = {"max_retries": 0}
"""Trying again is done in one place, `retry`."""


def open_location(location: str) -> Backend:
    """Return what lies at a location.

    Raises:
        StorageError: the URI has no known scheme or holds a secret, nobody answers there, or there is no such bucket.
    """
    folder = folder_of(location)
    if folder is not None:
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise StorageError(f"storage {location!r}: found a file, expected a folder, or a path where none is yet")
        return Disk(str(Path(folder).absolute()))
    # The location is printed, and travels with every job: a secret in it would too.
    if _PASSWORD.search(location) or _SECRET_OPTION.search(location):
        raise StorageError(
            f"storage {location.partition('://')[0]}://…: found credentials in the URI, expected them in the "
            "environment of every node (for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or an instance role)"
        )
    try:
        file_system, root = patiently(location, lambda: _open(location))
    except pa.ArrowException as error:
        raise StorageError(f"storage {location!r}: found {cause(error)}, expected a path or a URI") from error
    except OSError as error:
        raise StorageError(f"storage {location!r}: cannot be reached ({cause(error)})") from error
    if isinstance(file_system, pa.fs.LocalFileSystem):
        return Disk(root)
    return _bucket(location, file_system, root) or ArrowFileSystem(file_system, root)


def _open(location: str) -> tuple[pa.fs.FileSystem, str]:
    """Return Arrow's file system of a location, and the place in it."""
    _check_reachable(location)
    file_system, root = pa.fs.FileSystem.from_uri(_impatient(location))
    bucket = root.partition("/")[0]
    if file_system.type_name in OBJECT_STORES and not bucket:
        raise StorageError(f"storage {location!r}: found no bucket, expected one, as in s3://bucket/runs")
    # The listing of a missing bucket is empty, as if nothing had been computed yet.
    if file_system.type_name in OBJECT_STORES and file_system.get_file_info(bucket).type == pa.fs.FileType.NotFound:
        raise StorageError(f"storage {location!r}: found no bucket {bucket!r}, expected one that exists")
    return file_system, root


def _check_reachable(location: str) -> None:
    """Knock at an endpoint first: where nobody listens, the clients of object stores try again for minutes."""
    endpoint = _ENDPOINT.search(location)
    if endpoint is None:
        return
    try:
        socket.create_connection((endpoint["host"], int(endpoint["port"])), CONNECT_TIMEOUT_S).close()
    except (ConnectionRefusedError, socket.gaierror) as error:
        # Most likely a typo, which will not pass.
        why = os.strerror(errno.ECONNREFUSED) if isinstance(error, ConnectionRefusedError) else str(error)
        raise RefusedError(why) from error


def _impatient(location: str) -> str:
    if not location.startswith(("gs:", "gcs:")) or "retry_limit_seconds" in location:
        return location
    return f"{location}{'&' if '?' in location else '?'}retry_limit_seconds={GCS_RETRY_S}"


def _bucket(location: str, file_system: pa.fs.FileSystem, root: str) -> Bucket | None:
    """Return a bucket by the client that can put on a condition; None where that client cannot reach it as Arrow does:
    it knows fewer options and fewer kinds of credentials.
    """
    if file_system.type_name not in OBJECT_STORES:
        return None
    from sweeps.storage.backends.bucket import Bucket

    is_s3 = file_system.type_name == "s3"
    bucket, _, prefix = root.partition("/")
    parts = urlsplit(location)
    options = dict(parse_qsl(parts.query))
    scheme = options.pop("scheme", "https")
    from_environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    endpoint = options.pop("endpoint_override", from_environment if is_s3 else "")
    if endpoint and "://" not in endpoint:
        endpoint = f"{scheme}://{endpoint}"
    client: ClientConfig = {**_CLIENT, "allow_http": endpoint.startswith("http://")}
    if is_s3:
        options.pop("region", None)
        store = None if options else _s3(bucket, str(file_system.region), endpoint, client)
    elif file_system.type_name == "gcs":
        options.pop("retry_limit_seconds", None)
        # Its client asks for credentials before it puts, whether any are wanted or not.
        store = None if options or parts.username == "anonymous" else google_store(bucket, endpoint, client)
    else:
        host = _AZURE_HOST.fullmatch(parts.hostname or "")
        store = None if options or host is None else _azure(bucket, host["account"], client)
    if store is None:
        return None
    found = Bucket(
        store,
        prefix,
        well_known=not endpoint,
        deletes_many=is_s3 and not endpoint,
        uploads=_uploads(bucket, str(file_system.region), endpoint) if is_s3 else None,
    )
    if is_s3 and "AWS_ACCESS_KEY_ID" in os.environ and not endpoint.startswith("https:"):
        return found
    # Whether it finds the same credentials as Arrow's client, and trusts the same certificates.
    try:
        patiently(location, lambda: found.exists(".write-test"))
    except OSError:
        return None
    return found


def _s3(bucket: str, region: str, endpoint: str, client: ClientConfig) -> ObjectStore:
    from obstore.store import S3Store

    # In the environment are a user's keys, a role, or where to ask for one.
    given: S3Config = {"region": region, **_profile_keys()}
    if endpoint:
        # Not every store that speaks S3 removes many objects in one request.
        given |= {"endpoint": endpoint, "disable_bulk_delete": True}
    return S3Store(bucket, config=given, client_options=client, retry_config=_NO_RETRIES)


def _uploads(bucket: str, region: str, endpoint: str) -> Uploads | None:
    """Return the unfinished uploads of a bucket; None where keys are not given but handed out, as by a role."""
    from sweeps.storage.backends.uploads import Keys, Uploads

    profile = _profile_keys()
    keys = Keys(*(str(profile.get(name) or os.environ.get(f"AWS_{name.upper()}", "")) for name in Keys._fields))
    if not keys.access_key_id or not keys.secret_access_key:
        return None
    return Uploads(endpoint or f"https://s3.{region}.amazonaws.com", region, bucket, keys)


def google_store(bucket: str, endpoint: str, client: ClientConfig) -> ObjectStore:
    """Return a client of a bucket of Google's."""
    from obstore.store import GCSStore

    given: GCSConfig = {"base_url": endpoint} if endpoint else {}
    return GCSStore(bucket, config=given, client_options=client, retry_config=_NO_RETRIES)


def _azure(container: str, account: str, client: ClientConfig) -> ObjectStore:
    from obstore.store import AzureStore

    return AzureStore(container, account_name=account, client_options=client, retry_config=_NO_RETRIES)


def _profile_keys() -> S3Config:
    """Return the keys of a profile in AWS's own file, which Arrow reads and the other client does not."""
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return {}
    file = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    profiles = configparser.ConfigParser(interpolation=None)
    try:
        profiles.read(file)
        profile = profiles[os.environ.get("AWS_PROFILE", "default")]
    except (OSError, configparser.Error, KeyError):
        return {}
    found: S3Config = {}
    for name in ("access_key_id", "secret_access_key", "session_token"):
        if f"aws_{name}" in profile:
            found[name] = profile[f"aws_{name}"]
    return found
