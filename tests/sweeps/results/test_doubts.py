"""What its own row does not trust is told in no figure and no test, and that it is not is said."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from sweeps import load_results, spec
from sweeps.planning import plan
from sweeps.reporting.reports import write_report
from sweeps.results.doubts import left_out, mixed, trusted
from sweeps.results.source import open_source
from sweeps.results.sweep import open_sweep
from sweeps.spec import studies
from sweeps.statistics.roles import Roles
from sweeps.storage import Store, rows
from tests.support import toy_rows, toy_study
from tests.support.command_line import Sweeps
from tests.support.toy_study import ToyStudy
from tests.sweeps.conftest import text

DOUBTS = {"speed": "uneasy"}


class Uneasy(ToyStudy):
    """The toy study, of whose outcomes some are in doubt."""

    columns: ClassVar = {**ToyStudy.columns, "uneasy": bool, "machine": str}
    doubts: ClassVar = {"outcome": ("uneasy", "machine")}


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
        where = {"uneasy": None if place == 5 else marked, "machine": "old" if row.cell["seed"] == 0 else "new"}
        values = toy_rows.values(row, loaded, **own, **where)
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


@pytest.mark.parametrize("marks", [{}, {"uneasy": [None, None]}, {"uneasy": [False, False]}])
def test_rows_of_before_and_rows_without_a_mark_are_used(marks: dict[str, list[object]]) -> None:
    given = pd.DataFrame({"speed": [1.0, 2.0], **marks})
    assert trusted(given, DOUBTS)["speed"].tolist() == [1.0, 2.0]
    assert left_out(given, "speed", DOUBTS) == ""


ROLES = Roles(("colour", "size", "seed", "ratio"), replicate="seed", along="ratio")


def placed(machines: Sequence[str | None]) -> pd.DataFrame:
    """Return rows of two colours, two sizes and two seeds, in this order, on machines; the first one is in doubt."""
    cells = pd.MultiIndex.from_product([["blue", "red"], ["large", "small"], [0, 1]], names=["colour", "size", "seed"])
    frame = cells.to_frame(index=False).assign(ratio=0.5, speed=np.arange(8.0))
    return frame.assign(machine=pd.Series(machines, dtype=object), uneasy=[True, *[False] * 7])


ON = {"speed": ("uneasy", "machine")}


@pytest.mark.parametrize(
    ("machines", "named"),
    [
        (["A"] * 8, None),
        ([None] * 8, None),
        (["A", None] * 4, None),
        (["A"] * 4 + ["B"] * 4, "colour"),
        (["A", "A", "B", "B"] * 2, "size"),
        (["A", "B"] * 4, "colour and size"),
        # What is left out is compared with nothing.
        (["B", *["A"] * 7], None),
    ],
)
def test_contrasts_between_machines_are_named_and_no_others(machines: list[str | None], named: str | None) -> None:
    rows = placed(machines)
    said = mixed(rows, "speed", ON, roles=ROLES)
    counts = rows[1:]["machine"].value_counts().sort_index()
    found = ", ".join(f"{machine} ({count})" for machine, count in counts.items())
    assert said == ("" if named is None else f"speed: contrasts of {named} mix rows that differ in machine, {found}")
    assert mixed(rows, "seed", ON, roles=ROLES) == ""
    assert trusted(rows, ON)["speed"].isna().sum() == 1


def test_nothing_is_said_of_rows_without_the_columns() -> None:
    rows = placed(["A", "B"] * 4)
    for column in ("machine", "speed", "size"):
        assert mixed(rows.drop(columns=column), "speed", ON, roles=ROLES) == ""


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
        out, differ = source.remarks
        assert out.endswith("rows are left out, which are marked as uneasy")
        assert differ.startswith("outcome: contrasts of ")
        assert "mix rows that differ in machine, new (" in differ
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
    assert page.count(" mix rows that differ in machine, ") >= 2, "once beside the figure, once beside the tests"
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
        table = rows.table(toy_rows.values(row, loaded, uneasy=True, machine=None), loaded.study)
        store.publish_row("toy", str(row.key), table)
    write_report(store.describe("toy"), console)
    assert "report.html" in text(console)


STUDY = ("--study", f"{__name__}:Uneasy")
AXES = ("--axes", "shape,method,seed,dose", "--along", "dose", "--replicate", "seed")


@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("", ()),
        ("", STUDY),
        ("", AXES),
        ("", ("--study", "tests.toy_study:ToyStudy")),
        ("results", ()),
        ("results", STUDY),
        ("results", AXES),
        ("a.parquet", AXES),
        ("a.csv", STUDY),
        ("a.csv", (*STUDY, *AXES)),
    ],
)
def test_however_the_columns_are_told_they_are_left_out(
    sweep: str, sweeps: Sweeps, place: str, options: tuple[str, ...]
) -> None:
    if place == "a.parquet":
        pq.write_table(pq.read_table(f"{sweep}/results"), f"{sweep}/a.parquet")
    if place == "a.csv":
        load_results(sweep).to_csv(f"{sweep}/a.csv", index=False)
    ran = sweeps("analyze", f"{sweep}/{place}", "--metric", "outcome", "--format", "csv", *options)
    assert ran.status == 0
    assert re.search(r"outcome: 2 of 2[45] rows are left out, which are marked as uneasy", ran.errors)
    assert pd.read_csv(io.StringIO(ran.output))["mean_a"].max() < 1


def test_doubts_of_the_one_study_that_fits_hold_whatever_the_axes_are(tmp_path: Path, sweeps: Sweeps) -> None:
    study = studies.find("detection")
    ((metric, mark),) = [
        (name, mark)
        for name, marks in study.doubts.items()
        for mark in ([marks] if isinstance(marks, str) else marks)
        if study.columns[mark] is bool
    ][:1]
    grid = [("filters", name, "rgb", seed, 0.5) for name in ("one", "two") for seed in range(3)]
    made = pd.DataFrame(grid, columns=[axis.name for axis in study.axes])
    made[metric], made[mark] = 1.0, True
    made.to_csv(tmp_path / "d.csv", index=False)
    told = ("--axes", "initializer,seed,ratio", "--along", "ratio", "--replicate", "seed")
    ran = sweeps("analyze", str(tmp_path / "d.csv"), "--metric", metric, *told)
    assert f"{metric}: 6 of 6 rows are left out, which are marked as {mark}" in ran.errors
