"""Those rows of a sweep for which a condition of the user's holds."""

from __future__ import annotations

import pandas as pd

from sweeps.errors import SpecError, StorageError


def selected(rows: pd.DataFrame, where: str | None, *, along: str) -> pd.DataFrame:
    """Return the rows for which `--where` holds, a condition in the language of `pandas.DataFrame.query`; None: all.

    Args:
        rows: of a sweep, or of a file.
        where: the condition; columns whose names have dots stand in backticks.
        along: the axis of an example.

    Raises:
        SpecError: it is no condition.
        StorageError: it holds for none of them.
    """
    if where is None:
        return rows
    example = f"expected a condition on columns of rows, such as {along} == 0.5"
    try:
        found = rows.query(where)
    except Exception as error:  # whatever pandas raises for a text that is no condition
        cause = " ".join(str(error).split())
        raise SpecError(f"--where {where!r}: {cause or type(error).__name__}, {example}") from error
    if not isinstance(found, pd.DataFrame):
        raise SpecError(f"--where {where!r}: found no selection of rows, {example}")
    if found.empty:
        raise StorageError(f"--where {where!r}: found none of {len(rows)} rows for which that holds, expected some")
    return found
