"""A few random kills of each kind; `python -m benchmarks.chaos` does the same with a hundred on the full grid."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import chaos

pytestmark = pytest.mark.slow

KILLS = 6
SEED = 3
"""One that kills workers, a trial and a node."""


def test_random_kills_change_nothing(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        figures = chaos.measure(KILLS, SEED, changes=["grid.seed=[0]"], log=log)
    assert figures["rows"] == 45
    assert figures["duplicates"] == 0
    assert figures["rows_recomputed"] == 0
    assert figures["checkpoints_retrained"] == 0
    assert figures["metrics_differing"] == 0
    assert figures["rows_of_other_checkpoints"] == 0
    killed = [figures["workers_killed"], figures["trials_killed"], figures["nodes_killed"]]
    assert sum(killed) == KILLS
    assert min(killed) > 0
    printed = (tmp_path / "log").read_text()
    assert "Traceback" not in printed
    assert "(raylet)" not in printed, "Ray's own words about deaths reach the user"
