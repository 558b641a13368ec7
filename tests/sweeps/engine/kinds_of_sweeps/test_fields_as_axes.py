"""A run with a field among its axes, on a real Ray: each row has its own settings, once, also after a kill."""

from __future__ import annotations

import pandas as pd
import pytest

from sweeps import load_results
from tests.support import processes, toy_study
from tests.support.toy_run import ToyRun

pytestmark = pytest.mark.slow

OFFSETS = "grid.offset=[0, 0.5]"


def test_a_killed_sweep_over_a_field_ends_with_the_rows_of_each_setting(toy: ToyRun, undisturbed: pd.DataFrame) -> None:
    driver = toy.started(OFFSETS, "seconds=0.2", until=lambda: toy.rows_there() >= 5)
    processes.kill_with_its_ray(driver)
    finished = toy.snapshot()
    assert 5 <= toy.rows_there() < 2 * toy_study.ROWS
    output = toy.run(OFFSETS)
    assert "Traceback" not in output
    assert finished.items() <= toy.snapshot().items(), "something finished was written again"
    rows = load_results(toy.storage / "toy")
    assert rows["offset"].value_counts().to_dict() == {0.0: toy_study.ROWS, 0.5: toy_study.ROWS}
    plain = rows[rows["offset"] == 0][[*undisturbed]].reset_index(drop=True)
    pd.testing.assert_frame_equal(plain, undisturbed, check_exact=True)
    assert not rows[rows["offset"] == 0.5]["outcome"].isin(plain["outcome"]).any()
    assert len(pd.read_parquet(toy.storage / "toy" / "results")) == 2 * toy_study.ROWS
    assert toy.stages()["base"] == 2
