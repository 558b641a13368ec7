"""What a storage holds: checkpoints shared by every sweep in it, and per sweep its spec, rows, what belongs to a row
(tables and whole files), and failures.

A thing is there when it is published; what is read is checked against the checksum it was published with.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.errors import SpecError, StorageError
from sweeps.storage import compaction, tensors
from sweeps.storage.backends.retry import cause
from sweeps.storage.files import Files, UnreadableError, to_json
from sweeps.storage.names import AXES, is_row
from sweeps.storage.tensors import Published
from sweeps.study import Checkpoint

FOLDERS = frozenset({"results", "failures", "progress", "report", "cache"})
"""What a sweep's folder has in it, besides one folder for each table and each sort of files of its study."""


FEW = 999
"""Failures that are listed rather than asked for one by one: an object store lists 1000 names at a time."""


class RowFile(NamedTuple):
    """A file to publish beside a row: its folder, the ending of its name, and its bytes."""

    folder: str
    ending: str
    data: bytes


class Settled(NamedTuple):
    """Of some rows those that are published, and those of which the last attempt failed."""

    published: set[str]
    failed: set[str]


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

    def has_checkpoint(self, key: str) -> bool:
        """Say whether there is a checkpoint, whole or damaged."""
        return self.files.exists(f"checkpoints/{key}/{tensors.META}")

    def publish_checkpoint(
        self, key: str, checkpoint: Checkpoint, meta: Mapping[str, Any], *, replace: bool = False
    ) -> Published | None:
        """Publish tensors and what is known about them, such as `seconds`. The first writer wins.

        Args:
            replace: let the last writer win instead.

        Returns:
            None where these were published, else what another published before: to be used in their stead.
        """
        if replace:
            tensors.replace(self.files, f"checkpoints/{key}", checkpoint, meta)
            return None
        return tensors.publish(self.files, f"checkpoints/{key}", checkpoint, meta)

    def load_published(self, key: str) -> Published | None:
        """Return a published checkpoint and what was published with it; None where there is none or it is damaged."""
        return tensors.load(self.files, f"checkpoints/{key}")

    def load_checkpoint(self, key: str) -> Checkpoint | None:
        """Return a published checkpoint; None where there is none or its bytes are not the published ones."""
        found = self.load_published(key)
        return None if found is None else found.tensors

    def checkpoint_metas(self, keys: Sequence[str]) -> list[dict[str, Any] | None]:
        """Return what was published with each checkpoint; many are read at a time."""
        return tensors.read_metas(self.files, [f"checkpoints/{key}" for key in keys])

    def checkpoint_meta(self, key: str) -> dict[str, Any] | None:
        """Return what was published with a checkpoint, such as `seconds`."""
        return tensors.read_meta(self.files, f"checkpoints/{key}")

    # Progress of stages that are not finished

    def save_progress(self, place: str, state: Checkpoint, *, seconds: float) -> None:
        """Keep how far a stage is after `seconds`, in place of an earlier state. `place` is a folder of its own."""
        tensors.replace(self.files, place, state, {"seconds": seconds})

    def load_progress(self, place: str) -> tuple[Checkpoint | None, float]:
        """Return the state last kept and its seconds; (None, 0) where there is none or it is damaged."""
        found = tensors.load(self.files, place)
        return (found.tensors, float(found.meta.get("seconds", 0.0))) if found is not None else (None, 0.0)

    def forget_progress(self, place: str) -> None:
        """Remove what was kept of a stage that is finished."""
        self.files.delete_folder(place)

    # Rows

    def publish_attempt(
        self,
        sweep: str,
        row_key: str,
        row: pa.Table,
        *,
        files_key: str,
        tables: Mapping[str, pa.Table],
        files: Sequence[RowFile],
        replace: bool = False,
    ) -> bool:
        """Publish a row after the tables and files that belong to it: where a row is, they are.

        Args:
            files_key: begins the names of the tables and files; the row says it.
            replace: publish the row in place of one that is there.

        Returns:
            Whether this row was published. Where another was there, what belonged to this one is removed.
        """
        for name, lines in tables.items():
            self.publish_table(sweep, name, files_key, lines)
        for file in files:
            self.publish_file(sweep, file.folder, files_key, file.ending, file.data)
        before = self._files_key(sweep, row_key) if replace else None
        published = self.publish_row(sweep, row_key, row, replace=replace)
        idle = before if published else files_key
        if idle is not None:
            names = [f"{name}/{idle}.parquet" for name in tables]
            names += [f"{file.folder}/{idle}{file.ending}" for file in files]
            self.files.delete(*(f"{sweep}/{name}" for name in names))
        return published

    def publish_row(self, sweep: str, row_key: str, row: pa.Table, *, replace: bool = False) -> bool:
        """Publish a row; return False, and change nothing, where it was there already, unless it is to be replaced."""
        sink = pa.BufferOutputStream()
        # Dictionaries, statistics and compression pay with many rows; here they would be most of the file.
        pq.write_table(
            row, sink, write_page_checksum=True, use_dictionary=False, write_statistics=False, compression="none"
        )
        return self.files.publish(_row(sweep, row_key), sink.getvalue().to_pybytes(), replace=replace)

    def read_row(self, sweep: str, row_key: str) -> pa.Table | None:
        """Return a row; None where there is none.

        Raises:
            StorageError: it is damaged.
        """
        return self._read_parquet(_row(sweep, row_key), "row")

    def has_row(self, sweep: str, row_key: str) -> bool:
        """Say whether a row is published."""
        return self.files.exists(_row(sweep, row_key))

    def has_rows(self, sweep: str, row_keys: Collection[str]) -> set[str]:
        """Return those of some rows that are published: a request for each, many at a time, however many there are."""
        there = self.files.existing([_row(sweep, key) for key in row_keys])
        return {key for key in row_keys if _row(sweep, key) in there}

    def settled(self, sweep: str, row_keys: Collection[str]) -> Settled:
        """Return which of some rows are published, and of which others a failure is recorded.

        That takes a request for each row, many at a time, and one for the failures; where there are many of these, one
        more for each row that is not published.
        """
        published = self.has_rows(sweep, row_keys)
        others = {key: _failure(sweep, key) for key in row_keys if key not in published}
        few = self.files.few(f"{sweep}/failures", FEW) if len(others) > 1 else None
        if few is None:
            recorded = self.files.existing([*others.values()])
        else:
            recorded = {f"{sweep}/failures/{file.name}" for file in few}
        return Settled(published, {key for key, name in others.items() if name in recorded})

    def row_keys(self, sweep: str) -> set[str]:
        """Return the keys of all published rows."""
        return set(self.published_at(sweep))

    def published_at(self, sweep: str) -> dict[str, int]:
        """Return when each row was published, in nanoseconds since 1970, by its key."""
        listed = compaction.listed(self.files, f"{sweep}/results")
        return {file.name.removesuffix(".parquet"): file.modified_ns or 0 for file in listed}

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

    def publish_table(self, sweep: str, table: str, files_key: str, lines: pa.Table) -> None:
        """Publish lines of `table` that belong to an attempt at a row. To be done before the row itself."""
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
        self.files.publish(f"{sweep}/{table}/{files_key}.parquet", sink.getvalue().to_pybytes())

    def read_table(self, sweep: str, table: str, files_key: str) -> pa.Table | None:
        """Return the lines of `table` that belong to a row; None where none were published.

        Args:
            files_key: as the row says; of a row that says none, its key.

        Raises:
            StorageError: they are damaged.
        """
        return self._read_parquet(f"{sweep}/{table}/{files_key}.parquet", "table")

    def _files_key(self, sweep: str, row_key: str) -> str | None:
        """Return how names of a published row's tables and files begin; None where there is no row."""
        row = self.read_row(sweep, row_key)
        if row is None:
            return None
        said = row["files_key"][0].as_py() if "files_key" in row.column_names else None
        return said or row_key

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

    def publish_file(self, sweep: str, folder: str, files_key: str, ending: str, data: bytes) -> bool:
        """Publish a file that belongs to an attempt at a row, before the row itself; the first writer wins."""
        return self.files.publish(f"{sweep}/{folder}/{files_key}{ending}", data)

    def rows_with_files(self, sweep: str, folder: str, ending: str) -> set[str]:
        """Return the keys of the rows for which such a file is published."""
        names = (file.name for file in self.files.list(f"{sweep}/{folder}"))
        return {row_of(name.removesuffix(ending)) for name in names if name.endswith(ending)}

    # Failures

    def record_failure(self, sweep: str, row_key: str, failure: Mapping[str, Any]) -> None:
        """Keep the cause of a row that could not be computed, in place of an earlier one."""
        self.files.publish(_failure(sweep, row_key), to_json(failure), replace=True)

    def failure_keys(self, sweep: str) -> set[str]:
        """Return the keys of rows with a recorded failure."""
        names = (file.name for file in self.files.list(f"{sweep}/failures"))
        return {name.removesuffix(".json") for name in names if is_row(name, ".json")}

    def failures(self, sweep: str) -> Iterator[dict[str, Any]]:
        """Yield recorded failures, in a stable order; one that is forgotten meanwhile is left out. Of a record that
        cannot be read there are the row and, as its cause, what was found.
        """
        keys = sorted(self.failure_keys(sweep))
        for key, found in zip(keys, self.files.read_jsons([_failure(sweep, key) for key in keys]), strict=True):
            if found is not None:
                yield {"cause": str(found)} | (found if isinstance(found, dict) else {}) | {"row_key": key}

    def forget_failures(self, sweep: str, row_keys: Iterable[str]) -> None:
        """Remove recorded failures, many at a time."""
        self.files.delete(*(_failure(sweep, key) for key in row_keys))

    # The spec, and what the sweep refers to

    def note_checkpoints(self, sweep: str, keys: Iterable[str]) -> None:
        """Keep which checkpoints a sweep's rows are made from, beside those that were noted before: without its study,
        nobody could tell which checkpoints no sweep refers to.
        """
        name, before = f"{sweep}/checkpoints.json", self.noted_checkpoints(sweep)
        if before is None and self.files.exists(name):
            return  # it is torn: as long as nobody knows what it said, no checkpoint counts as unused
        if before is None or not before.issuperset(keys):
            self.files.publish(name, to_json({"keys": sorted((before or set()).union(keys))}), replace=True)

    def noted_checkpoints(self, sweep: str) -> set[str] | None:
        """Return the checkpoints that a sweep's rows are made from; None where that was not noted."""
        name = f"{sweep}/checkpoints.json"
        (found,) = self.files.look_into(
            [name], "keys", lambda keys: isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        )
        return None if found is None else set(found["keys"])

    def write_spec(self, sweep: str, text: str) -> None:
        """Keep the resolved spec beside the rows."""
        self.files.publish(f"{sweep}/spec.yaml", text.encode(), replace=True)

    def read_spec(self, sweep: str) -> str | None:
        """Return the resolved spec, or None where there is no such sweep.

        Raises:
            SpecError: it cannot be read.
        """
        try:
            return self.files.read(f"{sweep}/spec.yaml").decode()
        except FileNotFoundError:
            return None
        except UnreadableError as error:
            raise SpecError(str(error)) from error
        except UnicodeDecodeError as error:
            place = self.describe(f"{sweep}/spec.yaml")
            raise SpecError(f"{place}: found bytes that are no UTF-8 text, expected the spec of a sweep") from error

    def has_sweep(self, sweep: str) -> bool:
        """Say whether there is such a sweep, whatever its spec is like."""
        return self.files.exists(f"{sweep}/spec.yaml")


def row_of(files_key: str) -> str:
    """Return the row that a table or a file belongs to, by the beginning of its name; see `rows.files_key`."""
    return "-".join(files_key.split("-")[:2])


def _row(sweep: str, row_key: str) -> str:
    return f"{sweep}/results/{row_key}.parquet"


def _failure(sweep: str, row_key: str) -> str:
    return f"{sweep}/failures/{row_key}.json"


def recorded_code(text: str | None) -> dict[str, str] | None:
    """Return the fingerprints that a row's column `code` holds; None where none were recorded."""
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
