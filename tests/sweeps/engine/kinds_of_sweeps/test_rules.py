"""A sweep whose rule leaves rows out ends with the same rows whenever it is killed, and computes none of the others."""

from __future__ import annotations

import pytest

from sweeps import load_results
from tests.support.processes import kill_with_its_ray
from tests.support.toy_run import ToyRun

pytestmark = pytest.mark.slow

CHANGES = ("grid.dose=[0, 0.25, 0.5, 0.75, 1]", "skip={when: outcome < 20000, along: dose}", "seconds=0.3")


def test_a_rule_holds_after_a_kill(toy: ToyRun) -> None:
    driver = toy.started(*CHANGES, until=lambda: toy.rows_there() >= 5)
    kill_with_its_ray(driver)
    printed = toy.run(*CHANGES)
    assert "20 rows were left out (skip: outcome < 20000 at a lower dose)" in printed
    rows = load_results(toy.storage / "toy", skipped=True)
    assert len(rows) == 41
    assert rows["skipped"].notna().sum() == 20
    lost = rows[rows["skipped"].notna()]
    for _, trial in rows[rows["method"] != "none"].groupby(["shape", "method", "seed"]):
        there = trial[trial["skipped"].isna()].sort_values("dose")
        assert (there["outcome"].iloc[:-1] >= 20000).all()
    assert lost["outcome"].isna().all()
