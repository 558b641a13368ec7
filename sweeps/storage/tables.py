"""Tables of many lines that a study keeps beside its rows: their schemas, and what is refused before publishing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweeps.errors import StudyError
from sweeps.study import Study

ROW_KEY = "row_key"
"""The first column of every table: the row that a line belongs to."""

FILES_KEY = "files_key"
"""The second: the attempt that wrote it. The row names the one that counts in its column of this name."""


def tables(values: Mapping[str, Any], row_key: str, files_key: str, study: Study) -> dict[str, pa.Table]:
    """Return the tables among what `evaluate_row` returned, by name; none for one that is absent or None.

    Raises:
        StudyError: a column is missing or unknown, or of another type or length than it should be.
        ValueError: a column holds NaN or infinity.
    """
    return {
        name: _table(name, values[name], {ROW_KEY: row_key, FILES_KEY: files_key}, columns)
        for name, columns in study.tables.items()
        if values.get(name) is not None
    }


def _table(name: str, lines: Mapping[str, Any], keys: Mapping[str, str], columns: Mapping[str, type]) -> pa.Table:
    if set(lines) != set(columns):
        missing, unknown = set(columns) - set(lines), set(lines) - set(columns)
        raise StudyError(f"table {name} lacks {sorted(missing)} and has unknown {sorted(unknown)}")
    lengths = {column: len(lines[column]) for column in columns}
    if len(set(lengths.values())) > 1:
        raise StudyError(f"table {name}: found columns of different lengths, {lengths}")
    length = next(iter(lengths.values()))
    same = np.zeros(length, np.int32)
    arrays = {column: pa.DictionaryArray.from_arrays(same, [key]) for column, key in keys.items()}
    arrays |= {column: _array(f"{name}.{column}", lines[column], kind) for column, kind in columns.items()}
    schema = pa.schema([pa.field(column, array.type, nullable=False) for column, array in arrays.items()])
    return pa.table(arrays, schema)


def _array(column: str, values: Any, kind: type) -> pa.Array:
    try:
        # By way of numpy: of a list of numbers, Arrow would cut the decimals off.
        if kind is str:
            array = pa.array(np.asarray(values, np.object_), pa.string())
        else:
            array = pa.array(np.asarray(values), pa.from_numpy_dtype(np.dtype(kind)))
    except (pa.ArrowException, TypeError) as error:
        raise StudyError(f"column {column}: {error}, expected {kind.__name__}") from error
    if array.null_count or (pa.types.is_floating(array.type) and not pc.all(pc.is_finite(array), min_count=0).as_py()):
        raise ValueError(f"column {column}: found values that are missing or not finite")
    # A few texts over and over take little memory that way.
    return array.dictionary_encode() if kind is str else array
