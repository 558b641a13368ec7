"""What the page says of rows that are there, failed, or are still to come, and of where those there come from."""

import re

import pandas as pd
import pytest

from sweeps.reporting.page.sections.progress import progress_html, progress_of
from sweeps.reporting.page.sections.provenance import provenance_html
from sweeps.statistics.roles import Roles

ROLES = Roles(("method", "seed", "sparsity"), replicate="seed", along="sparsity")
CELLS = [
    {"method": method, "seed": seed, "sparsity": at} for method in ("l1", "l2") for seed in (0, 1) for at in (0.0, 0.5)
]

pytestmark = pytest.mark.filterwarnings("error")


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def said(rows: pd.DataFrame, failures: pd.DataFrame) -> str:
    return words(progress_html(progress_of(CELLS, rows=rows, failures=failures, roles=ROLES), failures, roles=ROLES))


def test_a_complete_sweep_says_so_and_no_more() -> None:
    # Whole numbers, as a file may give them back.
    rows = pd.DataFrame(CELLS).assign(seed=lambda each: each["seed"].astype(float))
    assert said(rows, pd.DataFrame()) == "8 of 8 rows finished. No row failed."


def test_what_is_not_complete_is_told_by_configuration_and_failures_by_cause() -> None:
    failures = pd.DataFrame([CELLS[4], CELLS[5], CELLS[6], CELLS[0]])
    failures = failures.assign(stage="score", cause=["no <room>", "not a number", "no <room>", "no <room>"])
    # A failure of a row that finished since is history.
    text = said(pd.DataFrame(CELLS[:4]), failures)
    assert text.startswith("4 of 8 rows finished, 3 failed, 1 to come.")
    assert "configuration planned finished failed to come l2 4 0 3 1 Failures by cause" in text
    assert "cause stage failures no &lt;room&gt; score 3 not a number score 1 Every failure" in text


def test_rows_that_are_not_planned_do_not_count() -> None:
    rows = pd.DataFrame([CELLS[0], CELLS[0] | {"seed": 7}])
    assert said(rows, pd.DataFrame()).startswith("1 of 8 rows finished, 7 to come.")


def test_rows_of_one_origin_have_one_line_each() -> None:
    times = {"started_at": "2026-01-01T00:00:00+00:00", "finished_at": "2026-01-02T01:00:00+00:00"}
    text = words(provenance_html(pd.DataFrame([times | {"torch_version": "2.9", "attempt": 1}])))
    assert "PyTorch 2.9 computed 2026-01-01 00:00:00 to 2026-01-02 01:00:00 UTC, in 1 day, 1:00:00" in text
    assert "attempts one for every row" in text
    assert "different" not in text


def test_rows_that_differ_in_origin_say_how_many_and_in_what() -> None:
    rows = pd.DataFrame({"torch_version": ["2.9", "2.8", "2.9", None], "attempt": [1, 3, 1, 1]})
    text = words(provenance_html(rows))
    assert "3 different 2.9 (2 of 4 rows)" in text
    assert "not recorded (1 of 4 rows)" in text
    assert "more than one for 1 of 4 rows" in text
