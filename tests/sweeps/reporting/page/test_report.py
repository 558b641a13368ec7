"""The page as text: what is in it, that nothing in it is fetched, and that values of a sweep stay values."""

import base64
import hashlib
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweeps.errors import SpecError
from sweeps.reporting.page.report import write_report
from sweeps.reporting.page.section import Section
from sweeps.statistics.roles import Roles
from sweeps.study import TradeOff
from tests.support import toy_rows

HOSTILE = "<script>alert('a')</script> & $$title"
AXES = ("method", "seed", "sparsity")

pytestmark = pytest.mark.filterwarnings("error")


class Page(HTMLParser):
    """The elements of a page with their attributes, and the cells of its last table as (text, value)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.cells = list[list[str | None]]()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "table":
            self.cells = []
        if tag == "tr":
            self.cells.append([])
        if tag == "td":
            self.cells[-1].append(dict(attrs).get("data-value"))
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def rows() -> pd.DataFrame:
    rows = pd.DataFrame(product(("l1", HOSTILE), range(3), (0.0, 0.5, 0.9)), columns=list(AXES))
    rows["accuracy"] = 1 / (3 + rows.index.to_series())
    rows["train_s"] = 20.0
    rows["host"] = HOSTILE
    return rows


def write(folder: Path, rows: pd.DataFrame, **changed: Any) -> tuple[list[Path], Page]:
    settings: dict[str, Any] = {
        "title": "toy",
        "baseline": pd.DataFrame([("none", 0, 0.0, 0.2)], columns=[*AXES, "accuracy"]),
        "failures": pd.DataFrame(),
        "cells": rows[list(AXES)].to_dict("records") if len(rows) else [],
        "baselines": [{"method": "none", "seed": 0, "sparsity": 0.0}],
        "spec_text": "name: toy",
        "metrics": {"accuracy": "robust accuracy"},
        "roles": Roles(AXES, "seed", "sparsity"),
    }
    written = write_report(folder, rows=rows, **(settings | changed))
    return written, Page(written[-1].read_text("utf-8"))


def test_what_is_written(rows: pd.DataFrame, tmp_path: Path) -> None:
    written, _ = write(tmp_path / "report", rows)
    names = ["accuracy_against_sparsity.png", "accuracy_against_sparsity.svg", "report.html"]
    assert [path.name for path in written] == names
    assert all(path.stat().st_size > 0 for path in written)


def failed(cause: str, **more: str) -> pd.DataFrame:
    return pd.DataFrame([{"method": "l1", "seed": 7, "sparsity": 0.9, "stage": "score", "cause": cause, **more}])


def test_hostile_values_stay_text(rows: pd.DataFrame, tmp_path: Path) -> None:
    failures = failed(HOSTILE, traceback=f"Traceback:\n  here\nError: {HOSTILE}\n")
    texts = {"title": HOSTILE, "spec_text": HOSTILE, "description": HOSTILE, "metrics": {"accuracy": HOSTILE}}
    _, page = write(tmp_path, rows, failures=failures, sections=[Section("more", HOSTILE, "")], **texts)
    assert len(page.all("script")) == 1
    assert page.texts["h1"] == page.texts["title"] == [HOSTILE]
    assert HOSTILE in page.texts["h2"]
    assert HOSTILE in page.texts["p"]
    assert f"l1, {HOSTILE}" in page.texts["dd"]
    assert {HOSTILE} <= {option["value"] for option in page.all("option")}
    assert HOSTILE in page.texts["pre"]
    assert f"Error: {HOSTILE}" in page.texts["summary"]


def test_a_sweep_is_not_named_by_markup() -> None:
    with pytest.raises(SpecError, match=r"name: found '<script>'"):
        toy_rows.load("name=<script>")


def test_nothing_is_fetched(rows: pd.DataFrame, tmp_path: Path) -> None:
    written, page = write(tmp_path, rows)
    for _, attributes in page.elements:
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#")
    assert page.all("link") == []
    (image,) = page.all("img")
    assert "robust accuracy" in (image["alt"] or "")
    _, _, encoded = (image["src"] or "").partition("base64,")
    assert base64.b64decode(encoded) == written[1].read_bytes()


def test_links_and_headers_lead_somewhere(rows: pd.DataFrame, tmp_path: Path) -> None:
    _, page = write(tmp_path, rows)
    targets = {attributes.get("id") for attributes in page.all("section") + page.all("main")}
    assert {(attributes["href"] or "").removeprefix("#") for attributes in page.all("a")} == targets
    headings = {attributes.get("id") for attributes in page.all("h2")}
    assert {section["aria-labelledby"] for section in page.all("section")} == headings
    # Real buttons, so that the keyboard reaches them: one per column of the rows and of the tests.
    assert len(page.all("button")) >= len(rows.columns)
    assert page.open == []


def test_numbers_in_the_page_are_those_of_the_rows(rows: pd.DataFrame, tmp_path: Path) -> None:
    _, page = write(tmp_path, rows)
    # The baseline is a row as well, with fewer columns here.
    column = [*AXES, "accuracy"].index("accuracy")
    shown = [float(cells[column] or "nan") for cells in page.cells[1:]]
    assert shown == [0.2, *rows["accuracy"].tolist()]


def test_cost_is_told_where_durations_are(rows: pd.DataFrame, tmp_path: Path) -> None:
    _, page = write(tmp_path, rows)
    assert "0.100 hours" in page.texts["strong"]
    _, page = write(tmp_path, rows.drop(columns="train_s"))
    assert "No durations are recorded." in page.texts["p"]


def test_only_the_scripts_and_styles_of_the_page_itself_are_admitted(rows: pd.DataFrame, tmp_path: Path) -> None:
    _, page = write(tmp_path, rows)
    policy = page.all("meta")[2]["content"] or ""
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        (source,) = page.texts[kind]
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_every_class_on_the_page_is_one_that_its_styles_or_its_script_know(rows: pd.DataFrame, tmp_path: Path) -> None:
    rows["torch_version"] = ["2.9", "2.10"] * (len(rows) // 2)
    _, page = write(tmp_path, rows)
    classes = {name for _, attributes in page.elements for name in (attributes.get("class") or "").split()}
    assert [name for name in classes if f".{name}" not in "".join(page.texts["style"] + page.texts["script"])] == []


def test_a_browser_does_not_fill_in_the_filters_of_a_page_seen_before(rows: pd.DataFrame, tmp_path: Path) -> None:
    _, page = write(tmp_path, rows)
    assert [form["autocomplete"] for form in page.all("form")] == ["off"]


def test_two_metrics_are_drawn_against_each_other(rows: pd.DataFrame, tmp_path: Path) -> None:
    rows["gain"] = 1 + rows["sparsity"]
    settings = {"metrics": {"accuracy": "accuracy", "gain": "gain (×)"}, "baseline": pd.DataFrame()}
    about = TradeOff("Much against much", f"Why {HOSTILE}.", against="gain", metric="accuracy")
    written, page = write(tmp_path, rows, trade_off=about, **settings)
    assert {"accuracy_against_gain.png", "accuracy_against_gain.svg"} <= {path.name for path in written}
    assert "Much against much" in page.texts["h2"]
    assert f"Why {HOSTILE}." in page.texts["p"]
    (alternative,) = [image["alt"] or "" for image in page.all("img") if "Pareto" in (image["alt"] or "")]
    # The other method is as fast, and everywhere less accurate.
    ends = ["l1 at sparsity 0.9 with 0.139 at 1.9", "l1 at sparsity 0.5 with 0.164 at 1.5", "l1 at sparsity 0 with"]
    assert "; ".join(ends) in alternative
    assert HOSTILE not in alternative


def test_findings_lead_and_then_what_was_done(rows: pd.DataFrame, tmp_path: Path) -> None:
    facts = {"data [set]": f"made up {HOSTILE}"}
    _, page = write(tmp_path, rows, facts=facts, notes=["seeds vary all"])
    assert page.texts["h2"][:3] == ["Findings", "Setting", "Results"]
    assert "data [set]" in page.texts["dt"]
    assert f"made up {HOSTILE}" in page.texts["dd"]
    assert "seeds vary all" in page.texts["p"]
    assert "Means with standard deviations, n = 3 seeds; every dot is a row." in page.texts["figcaption"]


def test_a_metric_that_is_read_beside_the_main_one_is_drawn_with_it_and_tested(
    rows: pd.DataFrame, tmp_path: Path
) -> None:
    rows["easy"] = 2 * rows["accuracy"]
    metrics = {"accuracy": "accuracy", "easy": "easy accuracy", "other": "other"}
    rows["other"] = 1.0
    baseline = pd.DataFrame()
    written, page = write(tmp_path, rows, metrics=metrics, beside={"accuracy": "easy"}, baseline=baseline)
    assert not [path for path in written if path.name.startswith("easy")]
    assert "accuracy, beside easy accuracy" in page.texts["h3"]
    assert [text for text in page.texts["summary"] if text.startswith("The same tests of easy accuracy: ")]
    assert "other" in page.texts["summary"]
    # Also where neither of them is the main one.
    main = {"other": "other", "accuracy": "accuracy", "easy": "easy accuracy"}
    _, page = write(tmp_path, rows, metrics=main, beside={"accuracy": "easy"}, baseline=baseline)
    assert "accuracy, beside easy accuracy" in page.texts["summary"]
    same = [text for text in page.texts["summary"] if text.startswith("The same tests of ")]
    assert [text.partition(":")[0] for text in same] == [f"The same tests of {name}" for name in [*main.values()][1:]]
    # An earlier sweep may have rows without it.
    _, page = write(
        tmp_path,
        rows.drop(columns="easy"),
        metrics={"accuracy": "accuracy", "other": "other"},
        beside={"accuracy": "easy"},
        baseline=baseline,
    )
    assert "accuracy" in page.texts["h3"]


def test_what_a_metric_was_before_is_in_its_figure_and_has_none_of_its_own(rows: pd.DataFrame, tmp_path: Path) -> None:
    rows["before"] = rows["accuracy"] / 2
    metrics = {"accuracy": "accuracy", "before": "accuracy before training"}
    written, page = write(tmp_path, rows, metrics=metrics, earlier={"accuracy": "before"}, baseline=pd.DataFrame())
    assert not [path for path in written if path.name.startswith("before")]
    assert "accuracy before training: mean ± standard deviation" in page.texts["caption"]
    assert not [text for text in page.texts["summary"] if text.startswith("The same tests")]
    for lacking in (rows.drop(columns="before"), rows.assign(before=float("nan"))):
        _, page = write(tmp_path, lacking, metrics=metrics, earlier={"accuracy": "before"}, baseline=pd.DataFrame())
        assert "accuracy before training: mean ± standard deviation" not in page.texts["caption"]


def test_where_nothing_differs_or_nothing_could_be_tested_that_is_said(rows: pd.DataFrame, tmp_path: Path) -> None:
    rows["accuracy"] = 0.5 + 0.01 * (7 * rows.index.to_series() % 5)
    _, page = write(tmp_path, rows)
    assert "No test shows a difference." in page.texts["p"]
    _, page = write(tmp_path, rows[rows["seed"] == 0])
    assert "Nothing could be tested." in page.texts["p"]
    assert "No test shows a difference." not in page.texts["p"]


def test_tests_are_of_groups_where_replicates_are_no_blocks(rows: pd.DataFrame, tmp_path: Path) -> None:
    _, page = write(tmp_path, rows, design="independent")
    assert "between independent groups" in "".join(page.texts["p"])
    assert "paired" not in "".join(page.texts["li"] + page.texts["p"])


def test_sections_of_others_come_after_the_tests(rows: pd.DataFrame, tmp_path: Path) -> None:
    _, page = write(tmp_path, rows, sections=[Section("other", "Other", "<h3>Here</h3>")])
    heads = page.texts["h2"]
    assert heads[heads.index("Tests") + 1] == "Other"
    assert "Here" in page.texts["h3"]


@pytest.mark.parametrize(("seeds", "mark"), [(3, "?"), (5, "*")])
def test_significance_is_a_mark_and_a_star_from_five_values_on(seeds: int, mark: str, tmp_path: Path) -> None:
    rows = pd.DataFrame(product(("l1", HOSTILE), range(seeds), (0.0, 0.9)), columns=list(AXES))
    first = rows["method"] == "l1"
    rows["accuracy"] = 0.9 * first + 0.01 * (1 + rows["seed"]) * (1 + first) * (1 + 0.2 * (rows["seed"] % 2))
    # At 90% both lie at the floor, far apart as they are.
    rows.loc[rows["sparsity"] > 0, "accuracy"] /= 100
    _, page = write(tmp_path, rows)
    marked = [text for text in page.texts["td"] if text[-1:] in ("*", "?") and text[0] in "0123456789"]
    assert [text[-1] for text in marked] == [mark]
    significant = [one for one in page.all("td") if "significant" in str(one.get("class"))]
    assert len(significant) == (mark == "*")
    assert any("no star: means at the floor of" in text for text in page.texts["li"])


def test_a_sweep_without_rows_still_shows_its_failures(tmp_path: Path) -> None:
    cells = [{"method": "l1", "seed": 7, "sparsity": 0.9}]
    failures = failed("OutOfMemoryError")
    written, page = write(tmp_path, pd.DataFrame(), baseline=pd.DataFrame(), failures=failures, cells=cells)
    assert [path.name for path in written] == ["report.html"]
    assert "OutOfMemoryError" in page.texts["td"]
    assert "0 of 2 rows finished, 1 failed, 1 to come." in page.texts["p"]
