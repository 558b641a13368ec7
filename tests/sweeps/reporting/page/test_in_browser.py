"""The page in a browser: it opens from disk without network, mouse and keyboard work, it shows what was stored."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from sweeps.planning import plan
from sweeps.reporting import reports
from sweeps.reporting.page.report import write_report
from sweeps.reporting.page.section import Section
from sweeps.statistics.roles import Roles
from sweeps.storage import Store
from sweeps.study import Gallery, Picture
from tests.support import toy_rows
from tests.support.browser import Browser, Tab, chromium

pytestmark = pytest.mark.slow

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
AXES = ("method", "seed", "sparsity")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a toy sweep of which some rows failed."""
    store, loaded = (
        Store(str(tmp_path_factory.mktemp("a 0") / "runs #1 [bold]")),
        toy_rows.load(f"description={HOSTILE}"),
    )
    rows = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.publish(store, loaded, rows[:-3])
    toy_rows.fail(store, loaded, rows[-2:])
    reports.write_report(store.describe("toy"), Console(file=io.StringIO()))
    return Path(store.describe("toy/report/report.html"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that has markup in every place where a sweep has text."""
    cells = [dict(zip(AXES, cell, strict=True)) for cell in itertools.product((HOSTILE, "l1"), (0, 1), (0.0, 0.5))]
    rows = pd.DataFrame(cells)
    rows[["accuracy", "host", "checkpoint_key"]] = pd.DataFrame(
        {"accuracy": rows.index / 7, "host": HOSTILE, "key": ""}
    )
    failure = cells[0] | {"stage": HOSTILE, "cause": HOSTILE, "traceback": f"Traceback\n{HOSTILE}\n</pre>{HOSTILE}"}
    picture = Picture(b"<svg/>", f'image/png"{HOSTILE}', f'"{HOSTILE}')
    written = write_report(
        tmp_path_factory.mktemp("hostile"),
        title=HOSTILE,
        description=HOSTILE,
        rows=rows,
        baseline=pd.DataFrame(),
        failures=pd.DataFrame([failure | {"seed": 7}]),
        cells=cells,
        baselines=[],
        spec_text=f"</pre>{HOSTILE}",
        metrics={"accuracy": HOSTILE},
        galleries=[Gallery(HOSTILE, HOSTILE, [HOSTILE], [(HOSTILE, [picture])])],
        sections=[Section("more", HOSTILE, "")],
        roles=Roles(AXES, "seed", "sparsity"),
    )
    return written[-1]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with two lines of six pictures at each of three steps, and one at all of them."""
    square = Image.new("RGB", (200, 200), (40, 90, 140))
    encoded = io.BytesIO()
    square.save(encoded, "PNG")
    six = [Picture(encoded.getvalue(), "image/png", str(number)) for number in range(6)]
    steps = ("0%", "50%", "90%")
    lines = [("truth", six), *((label, six) for _ in steps for label in "ab")]
    nothing = pd.DataFrame()
    written = write_report(
        tmp_path_factory.mktemp("pictures"),
        title="pictures",
        rows=nothing,
        baseline=nothing,
        failures=nothing,
        cells=[],
        baselines=[],
        spec_text="",
        metrics={},
        galleries=[Gallery("Six", "Of each.", [*"uvwxyz"], lines, ["", *(step for step in steps for _ in "ab")])],
        roles=Roles(AXES, "seed", "sparsity"),
    )
    return written[-1]


@pytest.fixture
def tab(browser: Browser, report: Path) -> Tab:
    tab = browser.tab()
    tab.open(report)
    unfold(tab)
    return tab


def unfold(tab: Tab) -> None:
    """Show the table of all rows."""
    tab.evaluate('document.querySelector("#rows > details").open = true')


def shown(tab: Tab, column: str) -> list[str | None]:
    """Return the full values of a column of all rows, in the order in which they are seen."""
    lines: list[str | None] = tab.evaluate(
        f"""(() => {{
          const table = document.getElementById("all-rows");
          const column = Array.from(table.tHead.rows[0].cells).findIndex((head) => head.textContent === "{column}");
          const seen = Array.from(table.tBodies[0].rows).filter((row) => row.offsetHeight > 0);
          return seen.map((row) => row.cells[column].dataset.value ?? null);
        }})()"""
    )
    return lines


def head(tab: Tab, column: str) -> str:
    """Return a selector of the button that heads a column."""
    heads: list[str] = tab.evaluate('Array.from(document.querySelectorAll("#all-rows th"), (each) => each.textContent)')
    return f"#all-rows th:nth-child({heads.index(column) + 1}) button"


def said(tab: Tab) -> str:
    text: str = tab.evaluate('document.querySelector("[role=status]").textContent')
    return text


def test_it_opens_without_network_and_without_complaints(tab: Tab, report: Path) -> None:
    assert tab.complaints == []
    assert {request.partition(":")[0] for request in tab.requests} == {"file", "data"}
    assert [request for request in tab.requests if request.startswith("file")] == [report.as_uri()]
    assert tab.evaluate("Array.from(document.images).every((image) => image.naturalWidth > 0)")
    assert tab.evaluate('document.querySelector("h1 + p").textContent') == HOSTILE


def test_every_number_is_that_of_the_parquet_to_the_last_digit(tab: Tab, report: Path) -> None:
    stored = pd.read_parquet(report.parent.parent / "results")
    assert len(stored) == 22
    stored = stored.set_index("row_key").loc[shown(tab, "row_key")].reset_index()
    for column in stored:
        values = [None if value is None else type(stored[column][0])(value) for value in shown(tab, str(column))]
        assert values == [None if pd.isna(value) else value for value in stored[column]]


def test_a_click_on_a_head_sorts_and_another_one_turns_it_round(tab: Tab) -> None:
    before = [float(value or "nan") for value in shown(tab, "outcome")]
    tab.click(head(tab, "outcome"))
    assert [float(value or "nan") for value in shown(tab, "outcome")] == sorted(before)
    tab.click(head(tab, "outcome"))
    assert [float(value or "nan") for value in shown(tab, "outcome")] == sorted(before, reverse=True)
    assert tab.evaluate('Array.from(document.querySelectorAll("[aria-sort]"), (each) => each.ariaSort)') == [
        "descending"
    ]


def test_the_keyboard_sorts_and_filters(tab: Tab) -> None:
    tab.click(head(tab, "shape"))
    tab.press("Tab")
    tab.press("Enter")
    assert shown(tab, "method") == sorted(shown(tab, "method"), key=str)
    tab.evaluate('document.querySelector("form.filter select").focus()')
    tab.press("ArrowDown")
    assert set(shown(tab, "shape")) == {"flat"}
    assert said(tab) == "9 of 22 rows shown"


def test_words_and_levels_filter_together_and_a_button_ends_it(tab: Tab) -> None:
    assert said(tab) == "22 of 22 rows shown"
    tab.click("form.filter input")
    tab.write("QUICK  FLAT")
    found = list(zip(shown(tab, "method"), shown(tab, "shape"), strict=True))
    assert set(found) == {("quick", "flat")}
    tab.evaluate('document.querySelector("form.filter label:last-of-type select").focus()')
    tab.press("ArrowDown")
    assert set(shown(tab, "dose")) == {"0.0"}
    assert 0 < len(shown(tab, "dose")) < len(found)
    assert said(tab) == f"{len(shown(tab, 'dose'))} of 22 rows shown"
    tab.click("form.filter button")
    assert said(tab) == "22 of 22 rows shown"


def test_markup_stays_text_and_no_script_of_it_runs(browser: Browser, hostile: Path) -> None:
    tab = browser.tab()
    tab.open(hostile)
    assert tab.complaints == []
    assert tab.evaluate("document.title") == HOSTILE
    assert tab.evaluate('document.querySelector("h1").textContent') == HOSTILE
    assert tab.evaluate("document.scripts.length") == 1
    assert tab.evaluate("document.querySelectorAll('[onerror]').length") == 0
    # The figure, and the picture of the gallery.
    assert tab.evaluate("document.images.length") == 2
    unfold(tab)
    assert set(shown(tab, "host")) == {HOSTILE}
    tab.evaluate("document.querySelector('form.filter select').value = " + json.dumps(HOSTILE))
    tab.evaluate("document.querySelector('form.filter').dispatchEvent(new Event('input'))")
    assert set(shown(tab, "method")) == {HOSTILE}


def test_a_script_that_came_in_nevertheless_would_not_run(tab: Tab) -> None:
    tab.evaluate(
        'document.body.append(Object.assign(document.createElement("script"), {textContent: "globalThis.ran = true"}))'
    )
    assert tab.evaluate("globalThis.ran") is None
    assert "Content Security Policy" in "".join(tab.complaints)


def test_without_scripts_the_rows_are_there_and_the_controls_are_not(browser: Browser, report: Path) -> None:
    tab = browser.tab()
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(report)
    unfold(tab)
    assert len(shown(tab, "dose")) == 22
    assert tab.evaluate('document.querySelector("form.filter").offsetHeight') == 0


def test_the_first_tab_leads_past_the_links(tab: Tab) -> None:
    tab.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the results"
    assert tab.evaluate("document.activeElement.getBoundingClientRect().x") >= 0
    tab.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"


def test_what_a_screen_reader_finds_has_names_and_order(tab: Tab) -> None:
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    found = [(node.get("role", {}).get("value"), node.get("name", {}).get("value")) for node in nodes]
    roles = [role for role, _ in found]
    assert {roles.count(role) for role in ("main", "banner", "navigation", "search", "status")} == {1}
    named = ("image", "region", "button", "combobox", "searchbox", "link", "table", "heading")
    assert not [role for role, name in found if role in named and not name]
    # What sorts a column is called as the column; its arrow is for the eye, the state is `aria-sort`.
    heads = tab.evaluate('Array.from(document.querySelectorAll("#all-rows th"), (each) => each.textContent)')
    assert set(heads) <= {name for role, name in found if role == "button"}
    levels: list[int] = tab.evaluate('Array.from(document.querySelectorAll("h1, h2, h3, h4"), (h) => +h.localName[1])')
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("page", ["report", "hostile"])
def test_a_narrow_window_scrolls_down_only(browser: Browser, page: str, request: pytest.FixtureRequest) -> None:
    tab = browser.tab(width=400)
    tab.open(request.getfixturevalue(page))
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_wide_window_shows_every_picture_whole(browser: Browser, pictures: Path) -> None:
    for width in (1300, 1900):
        tab = browser.tab(width=width)
        tab.open(pictures)
        inside = """((box) => box.scrollWidth <= box.clientWidth && box.scrollHeight <= box.clientHeight)"""
        assert tab.evaluate(f'{inside}(document.querySelector(".wide"))'), width


def test_arrows_and_a_slider_lead_through_the_steps_of_a_gallery(browser: Browser, pictures: Path) -> None:
    tab = browser.tab()
    tab.open(pictures)

    def seen() -> tuple[str, list[str]]:
        heads = (
            'Array.from(document.querySelectorAll(".gallery tbody tr:not([hidden]) th"), (each) => each.textContent)'
        )
        return tab.evaluate('document.querySelector(".steps strong").textContent'), tab.evaluate(heads)

    assert seen() == ("50%", ["truth", "a 50%", "b 50%"])
    tab.click(".steps button:last-of-type")
    assert seen() == ("90%", ["truth", "a 90%", "b 90%"])
    tab.click(".steps button:last-of-type")  # there is no further one
    assert seen()[0] == "90%"
    tab.evaluate('document.querySelector(".steps input").focus()')
    tab.press("ArrowDown")
    assert seen()[0] == "50%"
    tab.click(".steps button")
    assert seen() == ("0%", ["truth", "a 0%", "b 0%"])


def test_a_link_shows_what_is_folded_where_it_leads(browser: Browser, report: Path) -> None:
    tab = browser.tab()
    tab.open(report)
    assert not tab.evaluate('document.querySelector("#spec details").open')
    tab.click('nav a[href="#spec"]')
    tab.evaluate("new Promise((resolve) => setTimeout(resolve, 50))")
    assert tab.evaluate('document.querySelector("#spec details").open')


def test_what_names_a_line_stays_in_sight_in_a_narrow_window(browser: Browser, report: Path) -> None:
    tab = browser.tab(width=400)
    tab.open(report)
    tab.evaluate('document.querySelectorAll("details").forEach((each) => { each.open = true; })')
    moved: list[float] = tab.evaluate(
        """Array.from(document.querySelectorAll(".scroll"), (region) => {
          region.scrollLeft = 9999;
          const name = region.querySelector("tbody th");
          const left = name && name.getBoundingClientRect().x - region.getBoundingClientRect().x;
          return name && region.scrollLeft > 0 ? left : null;
        }).filter((left) => left !== null)"""
    )
    assert moved
    assert set(moved) == {0}
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400


def test_it_is_a_few_screens_long_before_details(browser: Browser, report: Path) -> None:
    tab = browser.tab(width=1300)
    tab.open(report)
    assert tab.evaluate('document.getElementById("tests").getBoundingClientRect().y') < 4 * 900


def test_paper_shows_what_is_folded_and_the_screen_folds_it_again(browser: Browser, report: Path) -> None:
    tab = browser.tab()
    tab.open(report)
    tab.evaluate('dispatchEvent(new Event("beforeprint"))')
    assert tab.evaluate('document.querySelector("#tests > details").open')
    assert not tab.evaluate('document.querySelector("#tests details.screen").open')
    tab.evaluate('dispatchEvent(new Event("afterprint"))')
    assert not tab.evaluate('document.querySelectorAll("details[open]").length')


def test_it_prints(tab: Tab) -> None:
    printed = tab.pdf()
    assert printed.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) < 20
    tab.call("Emulation.setEmulatedMedia", media="print")
    heights: dict[str, Any] = tab.evaluate(
        '({nav: document.querySelector("nav").offsetHeight, cost: document.getElementById("cost").offsetHeight})'
    )
    assert heights["nav"] == 0
    assert heights["cost"] > 0
