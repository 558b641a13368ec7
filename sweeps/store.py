"""The one door to storage: every read and write of checkpoints, rows and failures goes through here.

Published means complete: bytes are written under a temporary name, flushed to disk, and appear under their own name in
one step; the first writer wins. What is read is checked against the checksum it was published with.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from sweeps.errors import StorageError
from sweeps.study import Checkpoint


class Store:
    """A storage: checkpoints shared by every sweep in it, and one folder per sweep."""

    def __init__(self, location: str) -> None:
        """Open a path or a `pyarrow.fs` URI such as `s3://bucket/prefix`.

        Raises:
            StorageError: the URI has no known scheme.
        """
        self.location = location
        try:
            if "://" in location:
                self._fs, self._root = pa.fs.FileSystem.from_uri(location)
            else:
                self._fs, self._root = pa.fs.LocalFileSystem(), str(Path(location).absolute())
        except (pa.ArrowInvalid, OSError) as error:
            raise StorageError(f"storage {location!r}: found {error}, expected a path or a URI") from error
        self._local = isinstance(self._fs, pa.fs.LocalFileSystem)

    def check_writable(self) -> None:
        """Publish and remove an empty file.

        Raises:
            StorageError: that failed; the message has the cause.
        """
        name = f".write-test-{uuid.uuid4().hex}"
        self._publish(name, b"")
        self._fs.delete_file(self._path(name))

    # Checkpoints

    def checkpoints(self) -> set[str]:
        """Return the keys of all published checkpoints."""
        return {name.split("/")[0] for name in self._list("checkpoints", recursive=True) if name.endswith("/meta.json")}

    def publish_checkpoint(self, key: str, checkpoint: Checkpoint, meta: Mapping[str, Any]) -> None:
        """Publish tensors and then what is known about them; it is the second file that makes them count."""
        data = save_tensors(dict(checkpoint))
        checksum = hashlib.sha256(data).hexdigest()
        # Named by content, so that two writers of one key can never leave one's tensors with the other's checksum.
        self._publish(f"checkpoints/{key}/{checksum}.safetensors", data, replace=True)
        described = {**meta, "sha256": checksum, "bytes": len(data)}
        self._publish(f"checkpoints/{key}/meta.json", _to_json(described), replace=True)

    def load_checkpoint(self, key: str) -> Checkpoint | None:
        """Return a published checkpoint; None where there is none or its bytes are not the published ones."""
        try:
            meta = self.checkpoint_meta(key)
            if meta is None:
                return None
            data = self._read(f"checkpoints/{key}/{meta['sha256']}.safetensors")
            if hashlib.sha256(data).hexdigest() != meta["sha256"]:
                return None
            tensors: Checkpoint = load_tensors(data)
        except (FileNotFoundError, SafetensorError, KeyError):
            return None
        return tensors

    def checkpoint_meta(self, key: str) -> dict[str, Any] | None:
        """Return what was published with a checkpoint, such as `seconds`."""
        try:
            meta: dict[str, Any] = json.loads(self._read(f"checkpoints/{key}/meta.json"))
        except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError):
            return None
        return meta

    # Rows

    def publish_row(self, sweep: str, row_key: str, row: pa.Table) -> bool:
        """Publish a row; return False, and change nothing, where it was there already."""
        sink = pa.BufferOutputStream()
        pq.write_table(row, sink, write_page_checksum=True)
        return self._publish(f"{sweep}/results/{row_key}.parquet", sink.getvalue().to_pybytes())

    def row_keys(self, sweep: str) -> set[str]:
        """Return the keys of all published rows."""
        return {name.removesuffix(".parquet") for name in self._list(f"{sweep}/results") if name.endswith(".parquet")}

    def read_rows(self, sweep: str) -> pa.Table | None:
        """Return all rows of a sweep, or None where it has none.

        Raises:
            StorageError: a row is damaged; the message names its file.
        """
        names = sorted(name for name in self._list(f"{sweep}/results") if name.endswith(".parquet"))
        if not names:
            return None
        tables = []
        for name in names:
            data = pa.BufferReader(self._read(f"{sweep}/results/{name}"))
            try:
                tables.append(pq.ParquetFile(data, page_checksum_verification=True).read())
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise StorageError(
                    f"{self.describe(f'{sweep}/results/{name}')}: found a damaged row ({error}), "
                    "expected Parquet as it was published; delete the file and run again"
                ) from error
        return pa.concat_tables(tables, promote_options="default")

    # Failures

    def record_failure(self, sweep: str, row_key: str, failure: Mapping[str, Any]) -> None:
        """Keep the cause of a row that could not be computed, in place of an earlier one."""
        self._publish(f"{sweep}/failures/{row_key}.json", _to_json(failure), replace=True)

    def failure_keys(self, sweep: str) -> set[str]:
        """Return the keys of rows with a recorded failure."""
        return {name.removesuffix(".json") for name in self._list(f"{sweep}/failures") if name.endswith(".json")}

    def failures(self, sweep: str) -> Iterator[dict[str, Any]]:
        """Yield recorded failures, in a stable order."""
        for key in sorted(self.failure_keys(sweep)):
            yield json.loads(self._read(f"{sweep}/failures/{key}.json"))

    def forget_failure(self, sweep: str, row_key: str) -> None:
        """Remove a recorded failure."""
        self._fs.delete_file(self._path(f"{sweep}/failures/{row_key}.json"))

    # The spec

    def write_spec(self, sweep: str, text: str) -> None:
        """Keep the resolved spec beside the rows."""
        self._publish(f"{sweep}/spec.yaml", text.encode(), replace=True)

    def read_spec(self, sweep: str) -> str | None:
        """Return the resolved spec, or None where there is no such sweep."""
        try:
            return self._read(f"{sweep}/spec.yaml").decode()
        except FileNotFoundError:
            return None

    # Files

    def upload(self, name: str, data: bytes) -> None:
        """Write a file that is not a result, such as a report, in place of an earlier one."""
        self._publish(name, data, replace=True)

    def describe(self, name: str) -> str:
        """Return where a file lies, as a user would write it."""
        if "://" not in self.location:
            return f"{self.location.rstrip('/')}/{name}"
        address, mark, query = self.location.partition("?")
        return f"{address.rstrip('/')}/{name}{mark}{query}"

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _exists(self, name: str) -> bool:
        return bool(self._fs.get_file_info(self._path(name)).type == pa.fs.FileType.File)

    def _list(self, folder: str, *, recursive: bool = False) -> list[str]:
        selector = pa.fs.FileSelector(self._path(folder), allow_not_found=True, recursive=recursive)
        prefix = len(self._path(folder)) + 1
        return [info.path[prefix:] for info in self._fs.get_file_info(selector) if not info.base_name.startswith(".")]

    def _read(self, name: str) -> bytes:
        try:
            with self._fs.open_input_stream(self._path(name)) as stream:
                data: bytes = stream.read()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(f"{self.describe(name)}: cannot be read ({_cause(error)})") from error
        return data

    def _publish(self, name: str, data: bytes, *, replace: bool = False) -> bool:
        """Make `data` appear as `name` in one step; return whether this call did."""
        try:
            return self._appear(name, data, replace=replace)
        except OSError as error:
            raise StorageError(
                f"storage {self.location!r}: cannot be written ({_cause(error)}), expected a writable folder"
            ) from error

    def _appear(self, name: str, data: bytes, *, replace: bool) -> bool:
        if not self._local:
            # An object store shows an object only when its upload is complete.
            if not replace and self._exists(name):
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


def _cause(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _to_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
