"""What a report asks of the storage and the plan beside the rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console

from sweeps.planning import plan
from sweeps.reporting.reports import costs_of, write_report
from sweeps.results.origins import Origins, origins_of
from sweeps.results.source import open_source
from sweeps.results.sweep import open_sweep
from sweeps.spec import recorded
from sweeps.storage import Store
from tests.support import toy_rows
from tests.support.toy_study import ToyStudy
from tests.sweeps.conftest import text


@pytest.fixture
def toy(store: Store) -> str:
    """Return where a toy sweep is whose baseline is not finished, though its base and pretrainings are."""
    loaded = toy_rows.load()
    found = plan.make(loaded, store)
    _, *rows = toy_rows.all_rows(found)
    toy_rows.publish(store, loaded, rows, base_s=None)
    keys = {stage.key for row in rows for stage in row.stages if stage.name in ("base", "pretrain")}
    toy_rows.publish_checkpoints(store, [*keys, "base-of-another-sweep"], seconds=7200.0)
    return store.describe("toy")


def test_a_base_counts_though_no_row_tells_of_it(toy: str, console: Console) -> None:
    """Rows of before have no `base_s`; the checkpoint has it, and one of another sweep is none of this one's."""
    found = costs_of(open_sweep(toy)).query("stage == 'base'")
    assert found[["times", "seconds", "alone"]].to_numpy().tolist() == [[1, 7200.0, 7200.0]]
    write_report(toy, console)
    assert re.search(r">base</th><td[^>]*>1</td><td[^>]*7200.0", Path(toy, "report", "report.html").read_text())


def test_scores_are_a_rows_own_where_the_study_declares_them_per_row(toy: str) -> None:
    sweep = open_sweep(toy)
    own = {key for key, stages in origins_of(sweep.spec).own.items() if "score" in stages}
    rows = sweep.rows[sweep.rows["row_key"].isin(own)]
    assert len(rows) == len(sweep.rows.query("method == 'slow' and dose > 0")) == 8
    assert set(rows["method"]) == {"slow"}
    assert rows["dose"].min() > 0


def test_without_its_data_a_sweep_is_reported_from_its_rows(toy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_data(*asked: object) -> None:
        raise ValueError("data.json: found nothing, expected the data")

    sweep = open_sweep(toy)
    monkeypatch.setattr(ToyStudy, "stage", no_data)
    assert origins_of(sweep.spec) == Origins(("base", "pretrain", "score"))


def test_what_was_told_at_the_run_is_in_the_report(
    toy: str, store: Store, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the data that it tells of is here no more; a sweep of before has only what the study tells now."""
    page = Path(toy, "report", "report.html")
    monkeypatch.setattr(ToyStudy, "facts", lambda *_: {"toys": "of now"})
    write_report(toy, console)
    assert "<dt>toys</dt><dd>of now</dd>" in page.read_text()
    monkeypatch.setattr(ToyStudy, "facts", lambda *_: {"toys": "of then"})
    recorded.write(toy_rows.load(), store)

    def no_data(*asked: object) -> None:
        raise ValueError("data.json: found nothing, expected the data")

    monkeypatch.setattr(ToyStudy, "facts", no_data)
    write_report(toy, console)
    assert "<dt>toys</dt><dd>of then</dd>" in page.read_text()
    store.files.delete("toy/study.json")
    write_report(toy, console)
    assert "<dt>toys</dt>" not in page.read_text()


def test_a_study_whose_replicates_are_no_blocks_is_tested_so(
    toy: str, store: Store, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyStudy, "paired", property(lambda _: False))
    recorded.write(toy_rows.load(), store)
    write_report(toy, console)
    text = Path(toy, "report", "report.html").read_text()
    assert "between independent groups" in text
    assert "repeated-measures" not in text
    assert open_source(toy, metric=None, design=None).design == "independent"
    assert open_source(toy, metric=None, design="paired").design == "paired"


def test_a_figure_along_a_field_is_published_once(store: Store, console: Console) -> None:
    loaded = toy_rows.load("grid.offset=[0.0, 1.5]", "grid.shape=[flat]", "grid.method=[slow]")
    toy_rows.publish(store, loaded)
    write_report(store.describe("toy"), console, along="offset")
    said = [line for line in text(console).splitlines() if "/report/" in line]
    assert len(said) == len(set(said)) > 2
