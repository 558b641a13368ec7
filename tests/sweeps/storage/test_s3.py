"""A whole sweep on S3: planned, published, loaded, and read by plain pandas."""

from __future__ import annotations

import pandas as pd
import pytest

from sweeps import load_results
from sweeps.planning import plan
from sweeps.storage import Store, compaction
from tests.support import toy_rows, toy_study
from tests.sweeps.conftest import Uri

AXES = [axis.name for axis in toy_study.ToyStudy.axes]


@pytest.fixture
def store(s3: Uri) -> Store:
    return Store(s3())


def test_a_sweep_is_planned_published_and_loaded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = toy_rows.load()
    rows = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.publish(store, loaded, rows[:10])
    assert plan.make(loaded, store).missing == toy_study.ROWS - 10
    toy_rows.publish(store, loaded, rows[10:])
    assert plan.make(loaded, store).todo == []
    monkeypatch.setattr(compaction, "WORTH_KEEPING", 1)
    first, again = (load_results(store.describe("toy")) for _ in range(2))
    assert store.files.list("toy/cache")
    assert len(first) == toy_study.ROWS
    pd.testing.assert_frame_equal(first, again)
    plain = pd.read_parquet(store.describe("toy/results")).sort_values(AXES, ignore_index=True)
    pd.testing.assert_frame_equal(first, plain)
