"""Courses on the page: figures that say in words where curves end, of what a study makes of its tables."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweeps.planning import plan
from sweeps.reporting import reports
from sweeps.storage import Store, tables
from sweeps.study import Course, Curve, Lines
from tests.support import toy_rows
from tests.support.toy_study import ToyStudy, doses_seen
from tests.sweeps.reporting.page.test_gallery import page
from tests.sweeps.reporting.page.test_report import HOSTILE, Page

COURSE = Course(
    title=f"Heat {HOSTILE}",
    explanation=f"How warm it was {HOSTILE}.",
    along="hour",
    label=f"temperature {HOSTILE}",
    curves=[
        Curve(HOSTILE, "day", [1, 2], [0.1, 0.2]),
        Curve(HOSTILE, "day", [1, 2], [0.3, 0.4]),
        Curve("south", "night", [1], [0.5]),
    ],
)


def test_a_course_is_a_figure_that_says_where_its_curves_end(tmp_path: Path) -> None:
    found = page(tmp_path, courses=[COURSE])
    assert found.open == []
    (image,) = found.all("img")
    assert image["alt"] == (
        f"temperature {HOSTILE} against hour, one curve per name; at the end, {HOSTILE}: day 0.3; south: night 0.5."
    )
    assert COURSE.title in found.texts["h3"]
    assert COURSE.explanation in found.texts["p"]
    assert "Means of 1 to 2 rows each; faintly, every row." in found.texts["figcaption"]
    assert "#courses" in {link["href"] for link in found.all("a")}
    assert len([*tmp_path.glob("*.png")]) == len([*tmp_path.glob("*.svg")]) == 1


def test_without_courses_there_is_no_such_section(tmp_path: Path) -> None:
    assert "courses" not in {section["id"] for section in page(tmp_path).all("section")}


def courses(
    self: ToyStudy, rows: Sequence[Mapping[str, Any]], lines: Callable[[str, str], Lines | None]
) -> list[Course]:
    kept = [(row, lines("doses_seen", str(row["row_key"]))) for row in rows]
    curves = [
        Curve("all", row["method"], found["dose"].tolist(), found["dose"].tolist())
        for row, found in kept
        if found is not None
    ]
    return [Course("Doses", "As they were taken.", "dose", "dose", curves)] if curves else []


@pytest.mark.parametrize(("changes", "titles"), [([], ["Doses"]), (["grid.offset=[0.0, 1.0]"], 2 * ["Doses: offset"])])
def test_the_report_draws_what_the_study_tells_of_its_tables(
    changes: list[str], titles: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyStudy, "courses", courses)
    loaded, store = toy_rows.load(*changes), Store(str(tmp_path))
    toy_rows.publish(store, loaded)
    for row in toy_rows.all_rows(plan.make(loaded, store)):
        (table,) = tables.tables({"doses_seen": doses_seen(0.5)}, str(row.key), str(row.key), loaded.study).values()
        store.publish_table("toy", "doses_seen", str(row.key), table)
    reports.write_report(store.describe("toy"), Console(file=io.StringIO()))
    found = Page(store.files.read("toy/report/report.html").decode())
    headings = [text for text in found.texts["h3"] if text.startswith("Doses")]
    assert [heading[: len(title)] for heading, title in zip(headings[: len(titles)], titles, strict=True)] == titles
    assert any("one curve per name; at the end, all: " in (image["alt"] or "") for image in found.all("img"))
