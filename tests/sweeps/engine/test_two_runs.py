"""Two drivers on one storage at once: they share the work, and one takes over what the other leaves."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.nodes import Nodes
from tests.support import processes, toy_study
from tests.support.toy_run import ToyRun

pytestmark = pytest.mark.slow


def test_two_runs_of_one_sweep_compute_everything_once(toy: ToyRun, undisturbed: pd.DataFrame) -> None:
    drivers = [toy.start("seconds=0.3") for _ in range(2)]
    for driver in drivers:
        output, _ = driver.communicate(timeout=processes.PATIENCE_S)
        assert driver.returncode == 0, output
        assert "Traceback" not in output
        assert f"rows {toy_study.ROWS}/{toy_study.ROWS}" in output
    per_row_scores = 2 * 2 * 2
    assert toy.stages() == {
        "base": 1,
        "pretrain": toy_study.PRETRAININGS,
        "score": toy_study.SHARED_SCORES + per_row_scores,
        "evaluate_row": toy_study.ROWS,
    }
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed, check_exact=True)
    assert toy.claims() == []


def test_a_run_takes_over_what_a_killed_one_held(toy: ToyRun, undisturbed: pd.DataFrame) -> None:
    first = toy.started("epochs=5", "seconds=0.5", "grid.seed=[1]", until=lambda: toy.stages()["pretrain"] >= 2)
    second = toy.start("epochs=5", "seconds=0.1", "grid.seed=[1]", "name=other")
    processes.kill_with_its_ray(first)
    output, _ = second.communicate(timeout=processes.PATIENCE_S)
    assert second.returncode == 0, output
    epochs = [entry.name.split()[2] for entry in toy.diary.iterdir() if entry.name.startswith("pretrain")]
    assert epochs.count("1") == 1, "the second run goes on from the first one's last epoch"
    assert set(epochs) == {"1", "2", "3", "4", "5"}
    assert toy.claims() == []


def test_two_runs_on_a_cluster_with_one_place_never_wait_for_each_other(toy: ToyRun) -> None:
    """Each has claimed what the other waits for, and one of them has the place."""
    with Nodes(1, slots=1) as nodes:
        arguments = [*toy.arguments("grid.seed=[0, 1, 2, 3]", "seconds=0.3"), "--address", nodes.address]
        drivers = [processes.start(*arguments) for _ in range(2)]
        for driver in drivers:
            output, _ = driver.communicate(timeout=processes.PATIENCE_S)
            assert driver.returncode == 0, output
    assert toy.stages()["evaluate_row"] == toy.rows_there() == 2 * 2 * 4 * 3 + 1
    assert toy.claims() == []
