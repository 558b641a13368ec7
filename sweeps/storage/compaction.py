"""Many files of one row each, read as one table; what was read once is kept in a single file beside them.

The rows' own files are the truth. The kept file saves reading them again and may be deleted at any time: what it says
of a row is believed while the row's file has the very size and modification time it had when it was read.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.errors import StorageError
from sweeps.storage.backends import File, notices
from sweeps.storage.backends.retry import cause
from sweeps.storage.files import Files
from sweeps.storage.names import is_row, is_unfinished

WORTH_KEEPING = 100
"""Rows read from their own files, at least, before the kept file is written again."""

AT_ONCE = 1000
"""Files whose bytes are in memory at a time."""

NAMED = 3
"""Files of others that are called by name, at most."""

_LAYOUT = b"rows of one schema, the files they are from, and so on: 1\n"


class Part(NamedTuple):
    """Rows of one schema; row number i was read from `files[i]`."""

    files: list[File]
    rows: pa.Table


def read_rows(
    files: Files,
    folder: str,
    kept: str,
    *,
    most_unread: int | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table | None:
    """Return the rows of all Parquet files in a folder, ordered by file name; None where there is none.

    Args:
        kept: name of the file that keeps what was read.
        columns: return these alone, of the rows that have them, which takes a fraction of the time.
        most_unread: read at most so many rows that are not kept, and leave out the others.

    Raises:
        StorageError: a row is damaged, and the message names its file; or a column has several types.
    """
    parts = read_parts(files, folder, kept, most_unread=most_unread, columns=columns)
    if not parts:
        return None
    try:
        rows = pa.concat_tables([part.rows for part in parts], promote_options="default")
    except pa.ArrowException as error:
        raise StorageError(f"{files.describe(folder)}: found rows that do not fit together ({cause(error)})") from error
    names = [file.name for part in parts for file in part.files]
    return rows.take(sorted(range(len(names)), key=names.__getitem__))


def read_parts(
    files: Files,
    folder: str,
    kept: str,
    *,
    most_unread: int | None = None,
    columns: Sequence[str] | None = None,
) -> list[Part]:
    """Return the rows of all Parquet files in a folder, those of one schema together; else as `read_rows`."""
    there = sorted(listed(files, folder))
    parts = _still_true(_load(files, kept, columns), there)
    known = {file for part in parts for file in part.files}
    unread = [file for file in there if file not in known][:most_unread]
    if columns is not None and most_unread is None and len(unread) >= WORTH_KEEPING:
        return [Part(part.files, _only(part.rows, columns)) for part in read_parts(files, folder, kept)]
    for start in range(0, len(unread), AT_ONCE):
        parts += _read(files, folder, unread[start : start + AT_ONCE])
    if columns is not None:
        parts = [Part(part.files, _only(part.rows, columns)) for part in parts]
    # Columns come in the order of the first file, however the rows were read.
    parts = sorted(_joined(parts), key=lambda part: min(part.files))
    if most_unread is None and columns is None and len(unread) >= max(WORTH_KEEPING, len(there) // 10):
        _save(files, kept, parts)
    return parts


def listed(files: Files, folder: str) -> list[File]:
    """Return the files of rows in a folder. What others put there is named, and left alone."""
    found = files.list(folder, hidden=True)
    ours = [file for file in found if is_row(file.name)]
    others = sorted({file.name for file in found if not is_unfinished(file.name)} - {file.name for file in ours})
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        notices.say_once(
            f"{files.describe(folder)}: found {', '.join(others[:NAMED])}{more}, expected rows alone; what is not ours "
            "is left alone"
        )
    return ours


def _read(files: Files, folder: str, wanted: list[File]) -> list[Part]:
    read = zip(wanted, files.read_many([f"{folder}/{file.name}" for file in wanted]), strict=True)
    return _joined(
        Part([file], _parse(data, files.describe(f"{folder}/{file.name}"))) for file, data in read if data is not None
    )


def _parse(data: bytes, place: str) -> pa.Table:
    try:
        row = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read(use_threads=False)
        if len(row) == 1:
            return row
        problem = f"{len(row)} rows in it"
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        problem = str(error)
    raise StorageError(
        f"{place}: found a damaged row ({problem}), expected Parquet as it was published; delete the file and run again"
    )


def _joined(parts: Iterable[Part]) -> list[Part]:
    """Put parts of the same schema together."""
    by_schema: dict[bytes, list[Part]] = {}
    for part in parts:
        by_schema.setdefault(part.rows.schema.serialize().to_pybytes(), []).append(part)
    return [
        Part(
            [file for part in same for file in part.files],
            pa.concat_tables([part.rows for part in same]).combine_chunks(),
        )
        for same in by_schema.values()
    ]


def _still_true(parts: list[Part], listed: list[File]) -> list[Part]:
    """Keep the rows whose file is listed just as it was read."""
    there = {file for file in listed if file.modified_ns is not None}
    believed = [[file in there for file in part.files] for part in parts]
    return [
        Part([file for file in part.files if file in there], part.rows.filter(pa.array(mask)))
        for part, mask in zip(parts, believed, strict=True)
        if any(mask)
    ]


def _only(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    return rows.select([name for name in columns if name in rows.column_names])


def _load(files: Files, kept: str, columns: Sequence[str] | None) -> list[Part]:
    """Return what is kept; nothing where the file is missing, damaged, or not one of ours."""
    try:
        data = files.read(kept)
    except (FileNotFoundError, StorageError):
        return []
    checksum, tables = data[:32], data[32:]
    if checksum != hashlib.sha256(_LAYOUT + tables).digest():
        return []
    source, parts = pa.BufferReader(tables), []
    while source.tell() < source.size():
        rows = _stream(source, columns)
        read_from = _stream(source, None)
        parts.append(Part([File(**file) for file in read_from.to_pylist()], rows))
    return parts


def _stream(source: pa.BufferReader, columns: Sequence[str] | None) -> pa.Table:
    """Read the table at which a source stands, or some columns of it."""
    start = source.tell()
    stream = pa.ipc.open_stream(source)
    if columns is None:
        return stream.read_all()
    wanted = [index for index, name in enumerate(stream.schema.names) if name in columns]
    source.seek(start)
    return pa.ipc.open_stream(source, options=pa.ipc.IpcReadOptions(included_fields=wanted)).read_all()


def _save(files: Files, kept: str, parts: list[Part]) -> None:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    for part in parts:
        read_from = pa.Table.from_pylist([file._asdict() for file in part.files])
        for table in (part.rows, read_from):
            with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
                stream.write_table(table)
    tables = sink.getvalue().to_pybytes()
    # A storage that is only read is none the worse without.
    with contextlib.suppress(StorageError):
        files.publish(kept, hashlib.sha256(_LAYOUT + tables).digest() + tables, replace=True)
