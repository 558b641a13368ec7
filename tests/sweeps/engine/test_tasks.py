"""What a worker publishes of a row, and in which order, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from sweeps.engine import tasks
from sweeps.engine.job import Job, job_of
from sweeps.engine.progress.reports import Tell, nobody
from sweeps.errors import StorageError, StudyError
from sweeps.planning import plan
from sweeps.planning.underway import UnderWay
from sweeps.storage import Store
from sweeps.study import Cell
from tests.support import toy_rows
from tests.support.toy_study import ToyStudy, doses_seen

FULL = StorageError("storage 'toy': cannot be written (No space left on device), expected a writable folder")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def compute(
    store: Store, *changes: str, metas: Mapping[str, Any] = MappingProxyType({}), tell: Tell = nobody
) -> tuple[Job, str, tasks.Outcome]:
    """Compute the baseline row, which needs no scores."""
    loaded = toy_rows.load(*changes)
    job, row = job_of(loaded, store), toy_rows.all_rows(plan.make(loaded, store))[0]
    weights = np.arange(4.0)
    weights.flags.writeable = False
    (key,) = row.read
    outcome = tasks.compute_row(job, row, {key: metas}, 1, True, [key], {"weights": weights}, tell=tell)
    return job, str(row.key), outcome


def failing(*_: Any, **__: Any) -> None:
    raise FULL


def files_key(store: Store, key: str) -> str:
    row = store.read_row("toy", key)
    assert row is not None
    return str(row["files_key"][0].as_py())


def test_a_row_comes_with_its_table(store: Store) -> None:
    _, key, outcome = compute(store)
    assert outcome.failure is None
    assert store.row_keys("toy") == {key}
    table = store.read_table("toy", "doses_seen", files_key(store, key))
    assert table is not None
    assert table["row_key"].to_pylist() == [key, key]


def test_no_table_is_no_failure(store: Store) -> None:
    _, key, outcome = compute(store, "keep=false")
    assert outcome.failure is None
    row = store.read_row("toy", key)
    assert row is not None
    assert row["files_key"].to_pylist() == [None]
    assert store.files.list("toy/doses_seen") == []


@pytest.mark.parametrize("method", ["publish_table", "publish_file"])
def test_a_row_whose_table_or_file_cannot_be_written_is_not_there(
    method: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, method, failing)
    with pytest.raises(StorageError, match="No space left"):
        compute(store, "souvenirs=true")
    assert store.row_keys("toy") == store.failure_keys("toy") == set()


def test_what_a_worker_left_that_died_before_its_row_is_not_taken_for_the_rows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate_row = ToyStudy.evaluate_row

    def measure(attempt: int) -> Callable[..., dict[str, Any]]:
        found = {"doses_seen": doses_seen(attempt), "souvenirs": {".txt": str(attempt).encode(), ".bin": b""}}
        return lambda *given: {**evaluate_row(*given), **found}

    with monkeypatch.context() as patch:
        patch.setattr(Store, "publish_row", failing)
        patch.setattr(ToyStudy, "evaluate_row", measure(0))
        with pytest.raises(StorageError):
            compute(store, "souvenirs=true")
    monkeypatch.setattr(ToyStudy, "evaluate_row", measure(1))
    _, key, _ = compute(store, "souvenirs=true")
    table = store.read_table("toy", "doses_seen", files_key(store, key))
    assert table is not None
    assert table["dose"].to_pylist() == [1.0, 0.0]
    assert store.files.read(f"toy/souvenirs/{files_key(store, key)}.txt") == b"1"
    assert len(store.files.list("toy/souvenirs")) == 4


def test_of_two_workers_on_one_row_the_slower_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate_row = ToyStudy.evaluate_row

    def overtaken(*given: Any) -> dict[str, Any]:
        with monkeypatch.context() as patch:
            patch.setattr(ToyStudy, "evaluate_row", evaluate_row)
            compute(store, "souvenirs=true")
        return {**evaluate_row(*given), "outcome": -1.0}

    monkeypatch.setattr(ToyStudy, "evaluate_row", overtaken)
    _, key, outcome = compute(store, "souvenirs=true")
    assert outcome.failure is None
    row = store.read_row("toy", key)
    assert row is not None
    assert row["outcome"].to_pylist() != [-1.0]
    kept = files_key(store, key)
    assert {file.name for file in store.files.list("toy/souvenirs")} == {f"{kept}.txt", f"{kept}.bin"}
    assert [file.name for file in store.files.list("toy/doses_seen")] == [f"{kept}.parquet"]


def test_of_two_workers_on_one_stage_the_slower_goes_on_with_what_was_published(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(toy_rows.load(), store)

    def overtaken(*_: Any) -> dict[str, Any]:
        store.publish_checkpoint("base-1", {"weights": np.ones(2)}, {"host": "the quicker"})
        return {"weights": np.zeros(2)}

    monkeypatch.setattr(ToyStudy, "base", overtaken)
    found = tasks.compute_stage(job, "base", "base-1", {"seed": 0})
    assert found["weights"].tolist() == [1.0, 1.0]
    meta = store.checkpoint_meta("base-1")
    assert meta is not None
    assert meta["host"] == "the quicker"


def test_a_row_says_which_checkpoint_it_was_made_from(store: Store) -> None:
    _, key, _ = compute(store, metas={"sha256": "abc"})
    row = store.read_row("toy", key)
    assert row is not None
    assert row["checkpoint_sha256"].to_pylist() == ["abc"]


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


def test_a_stage_tells_how_far_it_is(store: Store) -> None:
    loaded = toy_rows.load("epochs=3")
    job, told = job_of(loaded, store), []
    stage = next(each for trial in plan.make(loaded, store).todo for each in trial.shared if each.name == "pretrain")
    cell: Cell = {"shape": "round", "method": "quick", "seed": 1, "dose": 0.5}
    base = {"weights": np.arange(4.0)}
    tell = lambda *said: told.append(said)  # noqa: E731
    tasks.compute_stage(job, "pretrain", stage.key, cell, base, axes=stage.axes, tell=tell)
    begun = UnderWay("pretrain", "round quick 1", "", "epoch", 0, 3, {})
    assert told == [(stage.key, begun)], "the rest came within a moment"


def test_a_row_tells_how_far_it_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate_row(study: ToyStudy, cell: Cell, *given: Any) -> dict[str, Any]:
        given[-1].report(1, 2, "spoon", taste=0.5)
        raise ArithmeticError

    monkeypatch.setattr(ToyStudy, "evaluate_row", evaluate_row)
    told: list[Any] = []
    _, key, _ = compute(store, tell=lambda *said: told.append(said))
    assert told == [(key, UnderWay("evaluate_row", "none none 0", "dose 0.0", "spoon", 1, 2, {"taste": 0.5}))]
