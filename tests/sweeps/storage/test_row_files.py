"""Files beside rows: whatever is not as declared is refused, and rows that are without are told."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from sweeps import running
from sweeps.errors import StudyError
from sweeps.planning import plan
from sweeps.storage import Store, row_files
from tests.support import toy_rows
from tests.support.toy_study import ToySettings, ToyStudy
from tests.sweeps.conftest import text

STUDY = ToyStudy(ToySettings(souvenirs=True))


def test_files_are_published_in_the_order_in_which_they_are_declared() -> None:
    values = {"outcome": 1.0, "souvenirs": {".bin": b"1", ".txt": b"one"}}
    assert row_files.files(values, STUDY) == [("souvenirs", ".txt", b"one"), ("souvenirs", ".bin", b"1")]


@pytest.mark.parametrize(
    "found", [{}, {"souvenirs": {".txt": b""}}, {"souvenirs": {".txt": b"", ".bin": b"", ".c": b""}}]
)
def test_files_that_are_not_the_declared_ones_are_refused(found: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=r"^souvenirs: found files \[.*\], expected \['.bin', '.txt'\]$"):
        row_files.files(found, STUDY)


def test_rows_that_were_finished_without_files_are_told(store: Store, console: Console) -> None:
    loaded = toy_rows.load("souvenirs=true")
    rows = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.publish(store, loaded, rows[:5])
    store.publish_file("toy", "souvenirs", str(rows[0].key), ".bin", b"")
    store.publish_file("toy", "souvenirs", str(rows[1].key), ".txt", b"")
    running.prepare(loaded, store, console)
    assert text(console).startswith("souvenirs: 4 of the 5 finished rows have none and will get none, since finished ")


def test_nothing_is_told_where_nothing_is_missing(store: Store, console: Console) -> None:
    toy_rows.publish(store, toy_rows.load())
    running.prepare(toy_rows.load(), store, console)
    running.prepare(toy_rows.load("souvenirs=true", "name=fresh"), store, console)
    assert text(console) == ""
