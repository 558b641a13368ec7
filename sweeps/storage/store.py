"""What a storage holds: checkpoints shared by every sweep in it, and per sweep its spec, rows, what belongs to a row
(tables and whole files), and failures.

A thing is there when it is published; what is read is checked against the checksum it was published with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from sweeps.errors import StorageError
from sweeps.storage import compaction
from sweeps.storage.files import Files
from sweeps.storage.location import cause
from sweeps.storage.metadata import AXES
from sweeps.study import Checkpoint

FOLDERS = frozenset({"results", "failures", "progress", "report", "cache"})
"""What a sweep's folder has in it, besides one folder for each table and each sort of files of its study."""


class Store:
    """A storage: checkpoints shared by every sweep in it, and one folder per sweep."""

    def __init__(self, location: str) -> None:
        """Open a path or a `pyarrow.fs` URI such as `s3://bucket/prefix`.

        Raises:
            StorageError: the URI is not one, or holds a password.
        """
        self.files = Files(location)

    @property
    def location(self) -> str:
        """The path or URI, as it was given."""
        return self.files.location

    def describe(self, name: str) -> str:
        """Return where a file or folder lies, as a user would write it."""
        return self.files.describe(name)

    # Checkpoints

    def checkpoints(self) -> set[str]:
        """Return the keys of all published checkpoints."""
        names = (file.name.split("/") for file in self.files.list("checkpoints", recursive=True))
        return {name[0] for name in names if name[1:] == ["meta.json"]}

    def publish_checkpoint(self, key: str, checkpoint: Checkpoint, meta: Mapping[str, Any]) -> None:
        """Publish tensors and what is known about them, such as `seconds`."""
        self._publish_tensors(f"checkpoints/{key}", checkpoint, meta)

    def load_checkpoint(self, key: str) -> Checkpoint | None:
        """Return a published checkpoint; None where there is none or its bytes are not the published ones."""
        return self._load_tensors(f"checkpoints/{key}")

    def checkpoint_metas(self, keys: Sequence[str]) -> list[dict[str, Any] | None]:
        """Return what was published with each checkpoint; many are read at a time."""
        found = self.files.read_many([f"checkpoints/{key}/meta.json" for key in keys])
        return [_from_json(data) for data in found]

    def checkpoint_meta(self, key: str) -> dict[str, Any] | None:
        """Return what was published with a checkpoint, such as `seconds`."""
        return self._read_meta(f"checkpoints/{key}")

    # Progress of stages that are not finished

    def save_progress(self, place: str, state: Checkpoint, *, seconds: float) -> None:
        """Keep how far a stage is after `seconds`, in place of an earlier state. `place` is a folder of its own."""
        before = self.files.list(place)
        kept = self._publish_tensors(place, state, {"seconds": seconds})
        for file in before:
            if file.name not in (kept, "meta.json"):
                self.files.delete(f"{place}/{file.name}")

    def load_progress(self, place: str) -> tuple[Checkpoint | None, float]:
        """Return the state last kept and its seconds; (None, 0) where there is none or it is damaged."""
        state = self._load_tensors(place)
        meta = self._read_meta(place)
        return (state, meta["seconds"]) if state is not None and meta is not None else (None, 0.0)

    def forget_progress(self, place: str) -> None:
        """Remove what was kept of a stage that is finished."""
        self.files.delete_folder(place)

    # Rows

    def publish_row(self, sweep: str, row_key: str, row: pa.Table, *, replace: bool = False) -> bool:
        """Publish a row; return False, and change nothing, where it was there already, unless it is to be replaced."""
        sink = pa.BufferOutputStream()
        # Dictionaries, statistics and compression pay with many rows; here they would be most of the file.
        pq.write_table(
            row, sink, write_page_checksum=True, use_dictionary=False, write_statistics=False, compression="none"
        )
        return self.files.publish(f"{sweep}/results/{row_key}.parquet", sink.getvalue().to_pybytes(), replace=replace)

    def read_row(self, sweep: str, row_key: str) -> pa.Table | None:
        """Return a row; None where there is none.

        Raises:
            StorageError: it is damaged.
        """
        return self._read_parquet(f"{sweep}/results/{row_key}.parquet", "row")

    def has_row(self, sweep: str, row_key: str) -> bool:
        """Say whether a row is published."""
        return self.files.exists(f"{sweep}/results/{row_key}.parquet")

    def settled(self, sweep: str, keys: Sequence[str]) -> tuple[set[str], set[str]]:
        """Return which of some rows are published, and which of the others have a recorded failure."""
        published = {key for key in keys if self.has_row(sweep, key)}
        failed = {key for key in keys if key not in published and self.files.exists(f"{sweep}/failures/{key}.json")}
        return published, failed

    def row_keys(self, sweep: str) -> set[str]:
        """Return the keys of all published rows."""
        return set(self.published_at(sweep))

    def published_at(self, sweep: str) -> dict[str, int]:
        """Return when each row was published, in nanoseconds since 1970, by its key."""
        listed = self.files.list(f"{sweep}/results")
        return {
            file.name.removesuffix(".parquet"): file.modified_ns or 0
            for file in listed
            if file.name.endswith(".parquet")
        }

    def axes_of_rows(self, sweep: str) -> list[str] | None:
        """Return which columns of a sweep's rows are their axes, by one of them; None where there is none."""
        for key in sorted(self.row_keys(sweep))[:1]:
            row = self.read_row(sweep, key)
            metadata = (row.schema.metadata if row is not None else None) or {}
            if AXES in metadata:
                return str(metadata[AXES].decode()).split(",")
        return None

    def row_codes(self, sweep: str, *, most_unread: int | None = None) -> dict[str, dict[str, str] | None]:
        """Return the fingerprints of the code that made each row, by its key; None where none were recorded."""
        found = compaction.read_rows(
            self.files,
            f"{sweep}/results",
            kept=f"{sweep}/cache/rows",
            columns=("row_key", "code"),
            most_unread=most_unread,
        )
        if found is None or not {"row_key", "code"} <= {*found.column_names}:
            return {}
        pairs = zip(found["row_key"].to_pylist(), found["code"].to_pylist(), strict=True)
        # Few of the texts differ.
        known: dict[str | None, dict[str, str] | None] = {None: None}
        codes = {}
        for key, text in pairs:
            if text not in known:
                known[text] = recorded_code(text)
            codes[key] = known[text]
        return codes

    def read_rows(self, sweep: str, *, most_unread: int | None = None) -> pa.Table | None:
        """Return all rows of a sweep, or None where it has none.

        Args:
            most_unread: be content with the rows that were read before, and so many others.

        Raises:
            StorageError: a row is damaged; the message names its file.
        """
        return compaction.read_rows(self.files, f"{sweep}/results", kept=f"{sweep}/cache/rows", most_unread=most_unread)

    # Tables of many lines that belong to a row

    def publish_table(self, sweep: str, table: str, row_key: str, lines: pa.Table) -> None:
        """Publish lines of `table` that belong to a row, in place of earlier ones. To be done before the row itself."""
        numbers = [field.name for field in lines.schema if pa.types.is_floating(field.type)]
        sink = pa.BufferOutputStream()
        # Measured on a table of numbers: 17 bytes a line, where Parquet's defaults take 31.
        pq.write_table(
            lines,
            sink,
            write_page_checksum=True,
            compression="zstd",
            use_byte_stream_split=numbers,
            use_dictionary=[name for name in lines.column_names if name not in numbers],
        )
        self.files.publish(f"{sweep}/{table}/{row_key}.parquet", sink.getvalue().to_pybytes(), replace=True)

    def read_table(self, sweep: str, table: str, row_key: str) -> pa.Table | None:
        """Return the lines of `table` that belong to a row; None where none were published.

        Raises:
            StorageError: they are damaged.
        """
        return self._read_parquet(f"{sweep}/{table}/{row_key}.parquet", "table")

    def _read_parquet(self, name: str, what: str) -> pa.Table | None:
        try:
            data = self.files.read(name)
            lines = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read(use_threads=False)
            lines.validate(full=True)
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise StorageError(
                f"{self.describe(name)}: found a damaged {what} ({cause(error)}), expected Parquet as it was published"
            ) from error
        return lines

    # Whole files that belong to a row

    def publish_file(
        self, sweep: str, folder: str, row_key: str, ending: str, data: bytes, *, replace: bool = False
    ) -> bool:
        """Publish a file that belongs to a row, before the row itself; return False, and change nothing, where it was
        there already: whoever takes it away finds what belongs to it unchanged, unless its row is replaced too.
        """
        return self.files.publish(f"{sweep}/{folder}/{row_key}{ending}", data, replace=replace)

    def file_keys(self, sweep: str, folder: str, ending: str) -> set[str]:
        """Return the keys of the rows for which such a file is published."""
        names = (file.name for file in self.files.list(f"{sweep}/{folder}"))
        return {name.removesuffix(ending) for name in names if name.endswith(ending)}

    # Failures

    def record_failure(self, sweep: str, row_key: str, failure: Mapping[str, Any]) -> None:
        """Keep the cause of a row that could not be computed, in place of an earlier one."""
        self.files.publish(f"{sweep}/failures/{row_key}.json", _to_json(failure), replace=True)

    def failure_keys(self, sweep: str) -> set[str]:
        """Return the keys of rows with a recorded failure."""
        names = (file.name for file in self.files.list(f"{sweep}/failures"))
        return {name.removesuffix(".json") for name in names if name.endswith(".json")}

    def failures(self, sweep: str) -> Iterator[dict[str, Any]]:
        """Yield recorded failures, in a stable order; one that is forgotten meanwhile is left out."""
        names = [f"{sweep}/failures/{key}.json" for key in sorted(self.failure_keys(sweep))]
        for data in self.files.read_many(names):
            if data is not None:
                yield json.loads(data)

    def forget_failure(self, sweep: str, row_key: str) -> None:
        """Remove a recorded failure."""
        self.files.delete(f"{sweep}/failures/{row_key}.json")

    # The spec

    def write_spec(self, sweep: str, text: str) -> None:
        """Keep the resolved spec beside the rows."""
        self.files.publish(f"{sweep}/spec.yaml", text.encode(), replace=True)

    def read_spec(self, sweep: str) -> str | None:
        """Return the resolved spec, or None where there is no such sweep."""
        try:
            return self.files.read(f"{sweep}/spec.yaml").decode()
        except FileNotFoundError:
            return None

    # Tensors: a file named by its content, then the description that makes it count

    def _publish_tensors(self, folder: str, tensors: Checkpoint, meta: Mapping[str, Any]) -> str:
        data = save_tensors(dict(tensors))
        checksum = hashlib.sha256(data).hexdigest()
        # Named by content, so that two writers of one key can never leave one's tensors with the other's checksum.
        name = f"{checksum}.safetensors"
        self.files.publish(f"{folder}/{name}", data, replace=True)
        described = {**meta, "sha256": checksum, "bytes": len(data)}
        self.files.publish(f"{folder}/meta.json", _to_json(described), replace=True)
        return name

    def _load_tensors(self, folder: str) -> Checkpoint | None:
        try:
            meta = self._read_meta(folder)
            if meta is None:
                return None
            data = self.files.read(f"{folder}/{meta['sha256']}.safetensors")
            if hashlib.sha256(data).hexdigest() != meta["sha256"]:
                return None
            tensors: Checkpoint = load_tensors(data)
        except (FileNotFoundError, SafetensorError, KeyError):
            return None
        return tensors

    def _read_meta(self, folder: str) -> dict[str, Any] | None:
        try:
            return _from_json(self.files.read(f"{folder}/meta.json"))
        except FileNotFoundError:
            return None


def recorded_code(text: str | None) -> dict[str, str] | None:
    """Return the fingerprints that a row's column `code` holds; None where none were recorded."""
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _from_json(data: bytes | None) -> dict[str, Any] | None:
    """Return what is in a file; None where there is none or it is damaged."""
    try:
        meta: dict[str, Any] | None = json.loads(data) if data is not None else None
    except (UnicodeDecodeError, json.JSONDecodeError):
        return None
    return meta


def _to_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
