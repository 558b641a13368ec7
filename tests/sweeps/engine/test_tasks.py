"""What a worker publishes of a row, and in which order, without Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeps.engine import tasks
from sweeps.engine.job import Job, job_of
from sweeps.errors import StorageError, StudyError
from sweeps.planning import plan
from sweeps.storage import Store
from tests.support import toy_rows
from tests.support.toy_study import ToyStudy

FULL = StorageError("storage 'toy': cannot be written (No space left on device), expected a writable folder")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def compute(store: Store, *changes: str) -> tuple[Job, str, tasks.Outcome]:
    """Compute the baseline row, which needs no scores."""
    loaded = toy_rows.load(*changes)
    job, row = job_of(loaded, store), toy_rows.all_rows(plan.make(loaded, store))[0]
    weights = np.arange(4.0)
    weights.flags.writeable = False
    (key,) = row.read
    outcome = tasks.compute_row(job, row, {}, 1, True, [key], {"weights": weights})
    return job, str(row.key), outcome


def failing(*_: Any, **__: Any) -> None:
    raise FULL


def test_a_row_comes_with_its_table(store: Store) -> None:
    _, key, outcome = compute(store)
    assert outcome.failure is None
    assert store.row_keys("toy") == {key}
    table = store.read_table("toy", "doses_seen", key)
    assert table is not None
    assert table["row_key"].to_pylist() == [key, key]


def test_no_table_is_no_failure(store: Store) -> None:
    _, key, outcome = compute(store, "keep=false")
    assert outcome.failure is None
    assert store.row_keys("toy") == {key}
    assert store.read_table("toy", "doses_seen", key) is None


def test_a_row_whose_table_cannot_be_written_is_not_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "publish_table", failing)
    with pytest.raises(StorageError, match="No space left"):
        compute(store)
    assert store.row_keys("toy") == store.failure_keys("toy") == set()


def test_a_worker_that_dies_between_the_two_leaves_a_table_that_is_replaced(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Store, "publish_row", failing)
        with pytest.raises(StorageError):
            compute(store)
    assert store.row_keys("toy") == set()
    ((name, _, _),) = store.files.list("toy/doses_seen")
    store.files.publish(f"toy/doses_seen/{name}", b"half a table", replace=True)
    _, key, outcome = compute(store)
    assert outcome.failure is None
    assert name == f"{key}.parquet"
    assert store.read_table("toy", "doses_seen", key) is not None


def test_a_row_comes_with_its_files(store: Store) -> None:
    _, key, outcome = compute(store, "souvenirs=true")
    assert outcome.failure is None
    assert {file.name for file in store.files.list("toy/souvenirs")} == {f"{key}.txt", f"{key}.bin"}
    assert store.files.read(f"toy/souvenirs/{key}.txt") == b"0.0"


def test_a_row_whose_files_cannot_be_written_is_not_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "publish_file", failing)
    with pytest.raises(StorageError, match="No space left"):
        compute(store, "souvenirs=true")
    assert store.row_keys("toy") == store.failure_keys("toy") == set()


def test_files_without_their_row_do_no_harm(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Store, "publish_row", failing)
        with pytest.raises(StorageError):
            compute(store, "souvenirs=true")
    before = store.files.list("toy/souvenirs")
    assert len(before) == 2
    _, key, outcome = compute(store, "souvenirs=true")
    assert outcome.failure is None
    assert store.row_keys("toy") == {key}
    assert store.files.list("toy/souvenirs") == before


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"doses_seen": {"dose": [1.0]}}, r"table doses_seen lacks \['half', 'step', 'taste'\]"),
        ({"surprise": 1}, "stage 'evaluate_row' returned a column 'surprise', which is not declared"),
        ({"machine": 3}, "stage 'evaluate_row' returned 3 in column 'machine', a int, expected str"),
        ({"outcome": True}, "stage 'evaluate_row' returned True in column 'outcome', a bool, expected float"),
        (None, "stage 'evaluate_row': found a NoneType, expected a value for each column"),
    ],
)
def test_a_row_that_breaks_what_the_study_declares_is_no_rows_fault(
    wrong: dict[str, Any] | None, sentence: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate_row = ToyStudy.evaluate_row
    monkeypatch.setattr(
        ToyStudy, "evaluate_row", lambda *given: None if wrong is None else {**evaluate_row(*given), **wrong}
    )
    with pytest.raises(StudyError, match=sentence):
        compute(store)
    assert store.failure_keys("toy") == store.row_keys("toy") == set()
    assert store.files.list("toy/doses_seen") == []


def test_a_column_that_is_missing_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyStudy, "evaluate_row", lambda *given: {"outcome": 1.0})
    with pytest.raises(StudyError, match="stage 'evaluate_row' returned no column 'effort_s', expected what"):
        compute(store)


def test_nan_is_the_fault_of_its_row(store: Store) -> None:
    _, _, outcome = compute(store, "nan_in=evaluate_row")
    assert outcome.failure is not None
    assert outcome.failure["stage"] == "evaluate_row"
    assert outcome.failure["cause"] == (
        "ValueError: stage 'evaluate_row': column outcome: found nan, expected a number"
    )
    assert not store.row_keys("toy")


@pytest.mark.parametrize("write", [lambda array: array.__setitem__(0, 1.0), lambda array: np.add(array, 1, out=array)])
def test_a_stage_that_writes_into_what_others_read_is_told_so(
    write: Callable[[Any], Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyStudy, "evaluate_row", lambda study, cell, checkpoint, *rest: write(checkpoint["weights"]))
    with pytest.raises(StudyError, match="stage 'evaluate_row' writes into a result that it was handed"):
        compute(store)
    assert store.failure_keys("toy") == set()
