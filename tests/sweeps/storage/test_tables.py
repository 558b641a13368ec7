"""Tables beside rows: whatever does not fit its declaration is refused, and plain pandas reads what is published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sweeps import load_results
from sweeps.errors import StudyError
from sweeps.planning import plan
from sweeps.storage import Store, tables
from tests.support import toy_rows
from tests.support.toy_study import ToySettings, ToyStudy, doses_seen

STUDY = ToyStudy(ToySettings())


def table(**changes: Any) -> pa.Table:
    return tables.tables({"outcome": 1.0, "doses_seen": {**doses_seen(0.5), **changes}}, "a-1", "a-1-ef", STUDY)[
        "doses_seen"
    ]


def test_a_table_has_its_columns_after_the_key_of_its_row() -> None:
    found = table()
    assert found.column_names == ["row_key", "files_key", "dose", "half", "step", "taste"]
    assert found.to_pylist() == [
        {"row_key": "a-1", "files_key": "a-1-ef", "dose": 0.5, "half": True, "step": 1, "taste": "sweet"},
        {"row_key": "a-1", "files_key": "a-1-ef", "dose": 0.0, "half": False, "step": 2, "taste": "bitter"},
    ]
    assert [found.schema.field(name).type for name in ("dose", "half", "step")] == [
        pa.float64(),
        pa.bool_(),
        pa.int16(),
    ]


@pytest.mark.parametrize("values", [{"outcome": 1.0}, {"outcome": 1.0, "doses_seen": None}])
def test_nothing_is_kept_where_nothing_is_returned(values: dict[str, Any]) -> None:
    assert tables.tables(values, "a-1", "a-1-ef", STUDY) == {}


def test_a_table_without_lines_has_the_types_of_one_with_lines() -> None:
    nothing = {name: values[:0] for name, values in doses_seen(0.5).items()}
    assert table(**nothing).schema == table().schema
    assert table(**{name: [] for name in nothing}).schema == table().schema


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": [1, 2]}, r"^table doses_seen lacks \[\] and has unknown \['surprise'\]$"),
        ({"step": [1]}, "table doses_seen: found columns of different lengths, {'dose': 2, 'half': 2, 'step': 1"),
        ({"dose": [0.5, float("nan")]}, "^column doses_seen.dose: found values that are missing or not finite$"),
        ({"dose": np.array([np.inf, 0])}, "^column doses_seen.dose: found values that are missing or not finite$"),
        ({"taste": ["sweet", None]}, "^column doses_seen.taste: found values that are missing or not finite$"),
        ({"step": [1, 2.5]}, r"^column doses_seen.step: .*2\.5.*, expected int16$"),
        ({"step": np.array([1, 70000])}, "^column doses_seen.step: .*70000.*, expected int16$"),
        ({"taste": [1, 2]}, "^column doses_seen.taste: .*, expected str$"),
        ({"dose": np.zeros((2, 2))}, "^column doses_seen.dose: .*, expected float$"),
    ],
)
def test_lines_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    kind = ValueError if "not finite" in message else StudyError
    with pytest.raises(kind, match=message):
        table(**changes)


def test_a_table_without_a_column_is_refused() -> None:
    columns = dict(doses_seen(0.5))
    del columns["half"]
    with pytest.raises(StudyError, match=r"lacks \['half'\]"):
        tables.tables({"doses_seen": columns}, "a-1", "a-1-ef", STUDY)


@pytest.mark.parametrize("place", ["path", "S3"])
def test_pandas_reads_all_tables_of_a_sweep_and_merges_them_with_its_rows(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    loaded = toy_rows.load()
    s3: Callable[[], str] = request.getfixturevalue("s3") if place == "S3" else lambda: str(tmp_path / "a 0")
    store = Store(s3())
    toy_rows.publish(store, loaded)
    for number, row in enumerate(toy_rows.all_rows(plan.make(loaded, store))):
        none = number % 3 == 0
        kept = {name: values[: 0 if none else 2] for name, values in doses_seen(float(row.cell["dose"])).items()}
        (table,) = tables.tables({"doses_seen": kept}, str(row.key), str(row.key), loaded.study).values()
        store.publish_table("toy", "doses_seen", str(row.key), table)
    rows = load_results(store.describe("toy"))
    merged = pd.read_parquet(store.describe("toy/doses_seen")).merge(rows, on="row_key", suffixes=("_seen", ""))
    assert len(merged) == 2 * sum(number % 3 > 0 for number in range(len(rows)))
    assert (merged["dose_seen"] == merged["dose"].where(merged["half"], 0)).all()
    assert set(merged["taste"]) == {"sweet", "bitter"}
