"""What its own row does not trust is told in no figure and no test, and that it is not is said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from sweeps import load_results, spec
from sweeps.planning import plan
from sweeps.reporting.reports import write_report
from sweeps.results.doubts import left_out, trusted
from sweeps.results.source import open_source
from sweeps.results.sweep import open_sweep
from sweeps.storage import Store, rows
from tests.support import toy_rows, toy_study
from tests.support.toy_study import ToyStudy
from tests.sweeps.conftest import text

DOUBTS = {"speed": "uneasy"}


class Uneasy(ToyStudy):
    """The toy study, of whose outcomes some are in doubt."""

    columns: ClassVar = {**ToyStudy.columns, "uneasy": bool}
    doubts: ClassVar = {"outcome": "uneasy"}


SPEC = toy_study.SPEC.replace("tests.toy_study:ToyStudy", f"{__name__}:Uneasy")
OUTLIER = 400.0


@pytest.fixture
def sweep(store: Store) -> str:
    """Publish the toy sweep; two of its rows hold an outlier and are marked, of one nothing is known."""
    loaded = spec.parse(SPEC, "toy.yaml")
    store.write_spec("toy", loaded.to_yaml())
    for place, row in enumerate(toy_rows.all_rows(plan.make(loaded, store))):
        marked = place in (4, 9)
        own = {"outcome": OUTLIER} if marked else {}
        values = toy_rows.values(row, loaded, **own, uneasy=None if place == 5 else marked)
        store.publish_row("toy", str(row.key), rows.table(values, loaded.study))
    return store.describe("toy")


def test_values_in_doubt_count_as_not_measured_and_nothing_else_does() -> None:
    given = pd.DataFrame({"speed": [1.0, 9.0, 2.0], "size": [1, 2, 3], "uneasy": [False, True, None]})
    found = trusted(given, DOUBTS)
    np.testing.assert_array_equal(found["speed"], [1.0, np.nan, 2.0])
    assert found["size"].tolist() == [1, 2, 3]
    assert given["speed"].tolist() == [1.0, 9.0, 2.0]
    assert left_out(given, "speed", DOUBTS) == "speed: 1 of 3 rows are left out, which are marked as uneasy"
    assert left_out(given, "size", DOUBTS) == ""


def test_a_mark_may_be_text_that_says_why() -> None:
    given = pd.DataFrame({"speed": [1.0, 9.0, 2.0, 3.0], "uneasy": [None, "the fan was loud", "", np.nan]})
    np.testing.assert_array_equal(trusted(given, DOUBTS)["speed"], [1.0, np.nan, 2.0, 3.0])
    assert left_out(given, "speed", DOUBTS) == "speed: 1 of 4 rows are left out, which are marked as uneasy"


@pytest.mark.parametrize("marks", [{}, {"uneasy": [None, None]}, {"uneasy": [False, False]}])
def test_rows_of_before_and_rows_without_a_mark_are_used(marks: dict[str, list[object]]) -> None:
    given = pd.DataFrame({"speed": [1.0, 2.0], **marks})
    assert trusted(given, DOUBTS)["speed"].tolist() == [1.0, 2.0]
    assert left_out(given, "speed", DOUBTS) == ""


def test_marks_are_read_back_from_storage_and_from_csv(sweep: str, tmp_path: Path) -> None:
    found = load_results(sweep)
    assert found["uneasy"].value_counts(dropna=False).to_dict() == {False: 22, True: 2, None: 1}
    found.to_csv(tmp_path / "rows.csv", index=False)
    for each in (found, pd.read_csv(tmp_path / "rows.csv")):
        assert trusted(each, Uneasy.doubts)["outcome"].max() < 1
        assert (each["outcome"] == OUTLIER).sum() == 2


def test_an_analysis_leaves_them_out_and_says_how_many(sweep: str, store: Store) -> None:
    def check(location: str) -> None:
        source = open_source(location, metric="outcome", design=None)
        assert source.rows["outcome"].isna().sum() == 2
        assert source.rows["outcome"].max() < 1
        assert source.remarks[-1].endswith("rows are left out, which are marked as uneasy")
        # Of another metric they are as good as any.
        other = open_source(location, metric="effort_s", design=None)
        assert other.rows["effort_s"].notna().all()
        assert not other.remarks

    check(sweep)
    store.files.delete("toy/spec.yaml")
    # Rows say it themselves.
    check(store.describe("toy/results"))


def test_a_report_is_without_them_but_its_table_of_rows(sweep: str, console: Console) -> None:
    assert open_sweep(sweep).rows["outcome"].max() == OUTLIER
    assert open_sweep(sweep).trusted.rows["outcome"].max() < 1
    write_report(sweep, console)
    page = Path(sweep, "report", "report.html").read_text()
    assert "outcome: 2 of 25 rows are left out, which are marked as uneasy." in page
    means, _, table = page[page.index("mean ± standard deviation") :].partition("Every column of every row")
    assert f'data-value="{OUTLIER}"' in table
    told = re.findall(r'<td class="number">(-?[\d.]+)', means[: means.index("</table>")])
    assert len(told) == 13
    assert max(map(float, told)) < 1
    assert "what varies with seed: pretrain, score, evaluate_row; computed once for all of them: base" in page


def test_a_report_of_nothing_but_doubt_is_a_report(store: Store, console: Console) -> None:
    loaded = spec.parse(SPEC, "toy.yaml")
    store.write_spec("toy", loaded.to_yaml())
    for row in toy_rows.all_rows(plan.make(loaded, store)):
        table = rows.table(toy_rows.values(row, loaded, uneasy=True), loaded.study)
        store.publish_row("toy", str(row.key), table)
    write_report(store.describe("toy"), console)
    assert "report.html" in text(console)
