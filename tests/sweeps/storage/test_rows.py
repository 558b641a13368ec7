"""Rows are read back with the types they were declared with, whole and once each, or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console

from sweeps import load_results
from sweeps.errors import StorageError
from sweeps.planning import plan
from sweeps.reporting.reports import show
from sweeps.results.sweep import open_sweep
from sweeps.storage import Store, compaction, rows
from sweeps.study import Cell
from tests.support import toy_rows, toy_study
from tests.support.command_line import Sweeps
from tests.support.toy_study import ToyStudy

AXES = ["shape", "method", "seed", "dose"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "a 0"))


@pytest.fixture
def sweep(store: Store) -> str:
    toy_rows.publish(store, toy_rows.load())
    return store.describe("toy")


def test_the_schema_lists_keys_measures_costs_and_provenance() -> None:
    schema = rows.schema(ToyStudy)
    assert schema.names == [*AXES, *ToyStudy.columns, *rows.stage_columns(ToyStudy), *rows.PROVENANCE]
    assert [schema.field(name).type for name in AXES] == [pa.string(), pa.string(), pa.int64(), pa.float64()]
    assert {schema.field(name).nullable for name in AXES} == {False}
    assert schema.field("pretrain_s").nullable


def test_results_have_every_row_sorted_by_key(sweep: str) -> None:
    found = load_results(sweep)
    assert len(found) == toy_study.ROWS
    assert list(found.columns) == rows.schema(ToyStudy).names
    assert list(found[AXES].itertuples(index=False)) == sorted(found[AXES].itertuples(index=False))
    assert found["seed"].dtype == "int64"
    assert found["dose"].dtype == "float64"
    assert found["score_s"].isna().all()
    assert found["score_s"].dtype == "float64"


def test_numbers_survive_bit_for_bit(sweep: str) -> None:
    found = load_results(sweep)
    assert [toy_rows.outcome(cast(Cell, cell)) for cell in found[AXES].to_dict("records")] == found["outcome"].tolist()


def test_plain_pandas_reads_the_same(sweep: str) -> None:
    plain = pd.read_parquet(f"{sweep}/results").sort_values(AXES, ignore_index=True)
    pd.testing.assert_frame_equal(plain, load_results(sweep))


def test_what_was_read_before_changes_nothing(sweep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_results(sweep)
    monkeypatch.setattr(compaction, "WORTH_KEEPING", 1)
    for _ in range(2):
        pd.testing.assert_frame_equal(load_results(sweep), expected, check_exact=True)
        assert Path(sweep, "cache", "rows").exists()


def test_a_sweep_without_rows_is_empty(store: Store) -> None:
    store.write_spec("toy", toy_rows.load().to_yaml())
    assert load_results(store.describe("toy")).empty


def test_a_sweep_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nothing: found no spec.yaml there, expected the folder of a sweep"):
        load_results(f"{tmp_path}/nothing")


def test_two_rows_of_one_cell_are_refused(sweep: str, store: Store) -> None:
    loaded = toy_rows.load()
    row = toy_rows.all_rows(plan.make(loaded, store))[2]
    store.publish_row("toy", "0-1", rows.table(toy_rows.values(row, loaded), loaded.study))
    with pytest.raises(StorageError, match="two rows for shape round, method slow, seed 0, dose 0.5, expected one"):
        load_results(sweep)


def test_a_truncated_row_is_named(sweep: str) -> None:
    file = next(Path(sweep, "results").iterdir())
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(StorageError, match=file.name):
        load_results(sweep)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surprise": 1}, r"lacks \[\] and has unknown \['surprise'\]"),
        ({"outcome": "much"}, "Could not convert 'much'"),
        ({"attempt": 1.5}, r"^column attempt: found 1\.5, expected a whole number$"),
        ({"outcome": float("nan")}, r"^column outcome: found nan, expected a number$"),
        ({"outcome": np.float32("-inf")}, r"^column outcome: found -inf, expected a number$"),
        ({"attempt": float("nan")}, r"^column attempt: found nan, expected a number$"),
    ],
)
def test_a_row_that_does_not_fit_the_schema_is_refused(change: dict[str, object], message: str, store: Store) -> None:
    loaded = toy_rows.load()
    row = toy_rows.all_rows(plan.make(loaded, store))[0]
    with pytest.raises(ValueError, match=message):
        rows.table({**toy_rows.values(row, loaded), **change}, loaded.study)


def test_what_was_not_measured_is_no_number_and_welcome(store: Store) -> None:
    loaded = toy_rows.load()
    row = toy_rows.all_rows(plan.make(loaded, store))[0]
    table = rows.table({**toy_rows.values(row, loaded), "outcome": None, "attempt": None}, loaded.study)
    assert table["outcome"].to_pylist() == table["attempt"].to_pylist() == [None]


def test_a_row_without_a_column_is_refused(store: Store) -> None:
    loaded = toy_rows.load()
    values = toy_rows.values(toy_rows.all_rows(plan.make(loaded, store))[0], loaded)
    del values["outcome"]
    with pytest.raises(ValueError, match=r"lacks \['outcome'\]"):
        rows.table(values, loaded.study)


def test_a_column_added_later_is_null_in_earlier_rows(sweep: str, store: Store) -> None:
    (name, *_) = sorted(store.row_keys("toy"))
    file = Path(sweep, "results", f"{name}.parquet")
    earlier = pa.parquet.read_table(file).drop_columns(["machine"])
    file.unlink()
    store.publish_row("toy", name, earlier)
    found = load_results(sweep)
    assert len(found) == toy_study.ROWS
    assert found["machine"].isna().sum() == 1


@pytest.mark.parametrize("arguments", [["old"], ["toy", "old"], ["old", "toy"]])
def test_a_sweep_older_than_its_columns_is_reported(sweeps: Sweeps, tmp_path: Path, arguments: list[str]) -> None:
    here = Store(str(tmp_path / "runs"))
    for name in ("toy", "old"):
        toy_rows.publish(here, toy_rows.load(f"name={name}"))
    for file in Path(here.describe("old"), "results").glob("*.parquet"):
        earlier = pa.parquet.read_table(file).drop_columns(["outcome", "machine", "score_s"])
        pa.parquet.write_table(earlier, file)
    ran = sweeps("report", *(here.describe(name) for name in arguments))
    assert (ran.status, ran.errors) == (0, "")
    old = open_sweep(here.describe("old"))
    show(old.spec, here, plan.make(old.spec, here), Console(file=io.StringIO()))
    assert old.rows[["outcome", "machine", "score_s"]].isna().all(axis=None)
    assert list(old.rows) == rows.schema(ToyStudy).names
