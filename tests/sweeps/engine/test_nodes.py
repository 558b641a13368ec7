"""A whole node goes away while its trials run, on a real cluster of several nodes."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.nodes import Nodes
from tests.support import processes
from tests.support.toy_run import ToyRun

pytestmark = pytest.mark.slow


def test_a_sweep_finishes_on_the_nodes_that_are_left(toy: ToyRun, undisturbed: pd.DataFrame) -> None:
    with Nodes(2, slots=2) as nodes:
        driver = processes.start(*toy.arguments("seconds=0.4"), "--address", nodes.address)
        doomed, other = nodes.computing
        processes.wait_until(lambda: toy.rows_there() >= 3 and bool(nodes.workers(doomed)), "the node to compute rows")
        trials = len(nodes.trials(doomed))
        finished = toy.snapshot()
        nodes.remove(doomed)
        output, _ = driver.communicate(timeout=processes.PATIENCE_S)
        assert driver.returncode == 0, output
        assert trials > 0
        assert "a trial's process died" in output
        assert "Traceback" not in output
        assert "(raylet)" not in output, "Ray's own words about deaths reach the user"
        assert nodes.computing == [other]
        processes.wait_until(lambda: not nodes.trials() + nodes.workers(), "the sweep's processes to end")
    assert finished.items() <= toy.snapshot().items(), "something finished was written again"
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed, check_exact=True)
    assert (toy.stages()["base"], toy.claims()) == (1, [])


def test_what_fails_on_one_node_is_tried_on_another_and_a_bad_node_is_left_out(
    toy: ToyRun, undisturbed: pd.DataFrame
) -> None:
    with Nodes(2, slots=1) as nodes:
        bad, _ = nodes.computing
        output = toy.run(f"bad_node={bad.node_id}", address=nodes.address)
    assert "is left out" in output
    assert "tried again on another node" in output
    assert not (toy.storage / "toy" / "failures").exists()
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed, check_exact=True)


def test_trials_that_wait_for_another_node_take_the_one_there_is_when_all_others_go(toy: ToyRun) -> None:
    """Every stage fails on it, and that is what is recorded in the end, rather than waiting for ever."""
    with Nodes(2, slots=1) as nodes:
        _, gone = nodes.computing
        driver = processes.start(*toy.arguments("seconds=0.3", "raise_in=evaluate_row"), "--address", nodes.address)
        processes.wait_until(lambda: toy.stages()["evaluate_row"] >= 1, "a row to begin")
        nodes.remove(gone)
        output, _ = driver.communicate(timeout=processes.PATIENCE_S)
    assert driver.returncode == 1, output
    assert "failed 25" in output
