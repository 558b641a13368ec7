"""Pictures on the page: each with its bytes and its words, a region the keyboard reaches, and text that stays text."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from sweeps.planning import plan
from sweeps.reporting import reports
from sweeps.reporting.page.report import write_report
from sweeps.storage import Store, tables
from sweeps.study import Gallery, Picture
from tests.support import toy_rows
from tests.support.roles import ROLES
from tests.support.toy_study import doses_seen
from tests.sweeps.reporting.page.test_report import HOSTILE, Page

GALLERY = Gallery(
    title=f"Doses {HOSTILE}",
    explanation=f"What was swallowed {HOSTILE}.",
    heads=["clean", HOSTILE],
    lines=[
        ("truth", [Picture(b"one", "image/png", "1 dose"), Picture(b"two", "image/png", "2 doses")]),
        (HOSTILE, [Picture(b"three", "image/jpeg", HOSTILE), Picture(b"four", "image/jpeg", 'a "dose"')]),
    ],
)


def page(folder: Path, **pictures: object) -> Page:
    nothing = pd.DataFrame()
    written = write_report(
        folder,
        title="toy",
        rows=nothing,
        baseline=nothing,
        failures=nothing,
        cells=[],
        baselines=[],
        spec_text="",
        metrics={},
        roles=ROLES,
        **pictures,  # type: ignore[arg-type]
    )
    return Page(written[-1].read_text("utf-8"))


def test_every_picture_carries_its_bytes_and_its_words(tmp_path: Path) -> None:
    images = page(tmp_path, galleries=[GALLERY]).all("img")
    sources = [(image["src"] or "").split(";base64,") for image in images]
    assert [kind for kind, _ in sources] == ["data:image/png"] * 2 + ["data:image/jpeg"] * 2
    assert [base64.b64decode(data) for _, data in sources] == [b"one", b"two", b"three", b"four"]
    assert [image["alt"] for image in images] == ["1 dose", "2 doses", HOSTILE, 'a "dose"']
    assert {image["loading"] for image in images} == {"lazy"}


def test_a_gallery_is_a_table_with_headers_in_a_region_the_keyboard_reaches(tmp_path: Path) -> None:
    found = page(tmp_path, galleries=[GALLERY])
    assert found.open == []
    assert len(found.all("script")) == 1
    scopes = [head["scope"] for head in found.all("th")]
    assert scopes.count("row") == 2
    assert scopes.count("col") >= 2
    assert found.texts["th"][:3] == ["clean", HOSTILE, "truth"]
    assert GALLERY.explanation in found.texts["p"]
    regions = [part for part in found.all("div") if part.get("aria-label") == GALLERY.title]
    assert [(part["role"], part["tabindex"]) for part in regions] == [("region", "0")]
    assert "#pictures" in {link["href"] for link in found.all("a")}


def test_equal_neighbours_are_shown_once_and_nothing_is_told_in_words(tmp_path: Path) -> None:
    one, nothing = Picture(b"one", "image/png", "1 dose"), Picture(b"", "image/png", "nothing")
    lines = [("truth", [one, one, nothing]), ("found", [nothing, nothing, nothing]), ("again", [one, nothing, one])]
    found = page(tmp_path, galleries=[Gallery("Doses", "All.", ["a", "b", "c"], lines)])
    cells = [cell.get("colspan") for cell in found.all("td")][1:]
    assert cells == ["2", None, "3", None, None, None]
    assert len(found.all("img")) == 3
    assert found.texts["span"].count("nothing") == 3


def test_lines_of_a_step_can_be_told_by_scripts_and_by_readers(tmp_path: Path) -> None:
    picture = [Picture(b"one", "image/png", "1 dose")]
    lines = [(label, picture) for label in ("truth", "a", "b", "a", "b")]
    steps = ["", "0%", "0%", "50%", "50%"]
    found = page(tmp_path, galleries=[Gallery("Doses", "All.", ["all"], lines, steps)])
    rows = [row.get("data-step") for row in found.all("tr")][-5:]
    assert rows == [None, "0", "0", "1", "1"]
    assert [text for text in found.texts["span"] if "%" in text] == steps[1:]
    (slider,) = [field for field in found.all("input") if field["type"] == "range"]
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "1", "1")
    assert "range" not in [field["type"] for field in page(tmp_path, galleries=[GALLERY]).all("input")]


def test_a_page_without_pictures_says_why(tmp_path: Path) -> None:
    found = page(tmp_path, no_galleries=f"nothing was kept {HOSTILE}")
    assert found.all("img") == []
    assert f"None: nothing was kept {HOSTILE}." in found.texts["p"]
    assert "#pictures" in {link["href"] for link in found.all("a")}


def test_a_study_without_pictures_has_no_such_section(tmp_path: Path) -> None:
    found = page(tmp_path)
    assert "pictures" not in {section["id"] for section in found.all("section")}
    assert "#pictures" not in {link["href"] for link in found.all("a")}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path))
    toy_rows.publish(store, toy_rows.load())
    return store


def report(store: Store) -> tuple[str, Page]:
    said = io.StringIO()
    reports.write_report(store.describe("toy"), Console(file=said))
    return said.getvalue(), Page(store.files.read("toy/report/report.html").decode())


def keep(store: Store, row: plan.Row) -> str:
    loaded = toy_rows.load()
    (table,) = tables.tables({"doses_seen": doses_seen(0.5)}, str(row.key), str(row.key), loaded.study).values()
    store.publish_table("toy", "doses_seen", str(row.key), table)
    return str(row.key)


def test_the_report_shows_what_the_study_draws_from_its_tables(store: Store) -> None:
    rows = toy_rows.all_rows(plan.make(toy_rows.load(), store))
    keys = [keep(store, row) for row in (rows[0], rows[4])]
    said, found = report(store)
    assert "no pictures" not in said
    assert [image["alt"] for image in found.all("img")][1:] == ["2 doses", "2 doses"]
    assert [text for text in found.texts["th"] if text in keys] == keys


def test_pictures_that_cannot_be_made_are_no_reason_to_go_without_a_report(store: Store) -> None:
    said, found = report(store)
    assert said.splitlines()[0] == "no pictures: found no [doses], expected some"
    assert said.splitlines()[-1].endswith("toy/report/report.html")
    assert "None: found no [doses], expected some." in found.texts["p"]


def test_a_damaged_table_is_no_reason_either(store: Store) -> None:
    key = keep(store, toy_rows.all_rows(plan.make(toy_rows.load(), store))[0])
    store.files.publish(f"toy/doses_seen/{key}.parquet", b"PAR1 not at all", replace=True)
    said, _ = report(store)
    assert f"{key}.parquet: found a damaged table" in said
    assert said.splitlines()[-1].endswith("toy/report/report.html")
