import base64
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweeps.reporting.page import write_report
from sweeps.statistics.roles import Roles

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
        if tag not in ("meta", "img", "br"):
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


def test_hostile_values_stay_text(rows: pd.DataFrame, tmp_path: Path) -> None:
    failures = pd.DataFrame({"cause": [HOSTILE], "traceback": [f"Traceback:\n  here\nError: {HOSTILE}\n"]})
    metrics = {"accuracy": HOSTILE}
    _, page = write(tmp_path, rows, title=HOSTILE, spec_text=HOSTILE, failures=failures, metrics=metrics)
    assert len(page.all("script")) == 1
    assert page.texts["h1"] == [HOSTILE]
    assert HOSTILE in page.texts["pre"]
    assert f"Error: {HOSTILE}" in page.texts["summary"]


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
    targets = {attributes.get("id") for attributes in page.all("section")}
    assert {(attributes["href"] or "").removeprefix("#") for attributes in page.all("a")} == targets
    # Real buttons, so that the keyboard reaches them: one per column of the rows and of the tests.
    assert len(page.all("button")) >= len(rows.columns)
    assert page.open == []


def test_numbers_in_the_page_are_those_of_the_rows(rows: pd.DataFrame, tmp_path: Path) -> None:
    _, page = write(tmp_path, rows)
    column = rows.columns.tolist().index("accuracy")
    shown = [float(cells[column] or "nan") for cells in page.cells[1:]]
    assert shown == rows["accuracy"].tolist()


def test_cost_is_the_sum_of_the_seconds(rows: pd.DataFrame, tmp_path: Path) -> None:
    _, page = write(tmp_path, rows)
    assert "0:06:00" in page.texts["td"]
    _, page = write(tmp_path, rows.drop(columns="train_s"))
    assert "No durations are recorded." in page.texts["p"]


def test_significance_is_a_star(rows: pd.DataFrame, tmp_path: Path) -> None:
    rows["accuracy"] = 0.9 * (rows["method"] == "l1") + 0.01 * rows["seed"] ** 2 * (rows["method"] != "l1")
    _, page = write(tmp_path, rows)
    assert any(text.endswith("*") for text in page.texts["td"])


def test_a_sweep_without_rows_still_shows_its_failures(tmp_path: Path) -> None:
    failures = pd.DataFrame({"cause": ["OutOfMemoryError"]})
    written, page = write(tmp_path, pd.DataFrame(), baseline=pd.DataFrame(), failures=failures)
    assert [path.name for path in written] == ["report.html"]
    assert "OutOfMemoryError" in page.texts["td"]
    assert "0 pruned models; 1 failure." in page.texts["p"]
