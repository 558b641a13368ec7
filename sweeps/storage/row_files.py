"""Whole files that a study leaves beside its rows for users to take away: their names, and what is refused before
publishing. What is in them is the study's business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sweeps.errors import StudyError
from sweeps.storage.store import RowFile, Store
from sweeps.study import Study


def files(values: Mapping[str, Any], study: Study) -> list[RowFile]:
    """Return the files among what `evaluate_row` returned, in the order in which they are published.

    Raises:
        StudyError: they are not those that the study says it returns.
    """
    for name, endings in study.files.items():
        found = sorted(values.get(name, ()))
        if found != sorted(endings):
            raise StudyError(f"{name}: found files {found}, expected {sorted(endings)}")
    return [RowFile(name, ending, values[name][ending]) for name, endings in study.files.items() for ending in endings]


def remarks(sweep: str, study: Study, store: Store, finished: Collection[str]) -> Iterator[str]:
    """Yield a sentence per sort of files that some finished rows are without.

    Args:
        finished: keys of rows.
    """
    for name, endings in study.files.items():
        without = set(finished) - store.rows_with_files(sweep, name, endings[-1])
        if without:
            yield (
                f"{name}: {len(without)} of the {len(finished)} finished rows have none and will get none, since "
                f"finished rows are not computed again; another name for the sweep (--set name=...) computes them anew"
            )
