"""The driver is killed again and again, at random moments from its first on, and the same command goes on each time."""

from __future__ import annotations

import random
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from sweeps import spec
from sweeps.planning import plan
from tests.support import processes, shared_ray, toy_study
from tests.support.toy_run import ToyRun

pytestmark = pytest.mark.slow

KILLS, SEED = 20, 2
START_S, WORK_S = 3.0, 3.0
"""Every third kill comes at most so long after the first stage began, the others so long after the start."""


def test_a_driver_killed_twenty_times_ends_with_the_same_rows(toy: ToyRun, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    finished: dict[str, int] = {}
    for number in range(KILLS):
        begun = toy.stages().total()
        driver = processes.start(*toy.arguments("epochs=4", "seconds=0.5"), "--max-concurrent", "2")
        at_work = number % 3 == 2
        if at_work:
            began = partial(lambda begun: toy.stages().total() > begun, begun)
            processes.wait_until(began, "the driver to begin something")
        time.sleep(chance.uniform(0, WORK_S if at_work else START_S))
        assert driver.poll() is None, "the sweep ended before its last kill"
        processes.kill_with_its_ray(driver)
        assert finished.items() <= toy.snapshot().items(), "something finished was written again"
        finished = toy.snapshot()
    assert 0 < toy.rows_there() < toy_study.ROWS

    output = toy.run("epochs=4", "seconds=0")
    assert "Traceback" not in output
    assert finished.items() <= toy.snapshot().items(), "something finished was written again"
    assert begun_late(toy) == []
    assert toy.claims() == []
    assert len(pd.read_parquet(toy.storage / "toy" / "results")) == toy_study.ROWS
    shared_ray.connect()
    undisturbed = ToyRun(tmp_path / "undisturbed")
    undisturbed.run_here("epochs=4")
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed.outcomes(), check_exact=True)


def begun_late(toy: ToyRun) -> list[str]:
    """Return what the diary says began when its result was published already."""
    published: dict[tuple[str, ...], float] = {}
    for trial in plan.trials(spec.load(str(toy.spec), ["epochs=4"])):
        for row in trial.rows:
            cell = tuple(map(str, row.cell.values()))
            for stage in trial.shared:
                published[stage.name, *cell] = (toy.storage / "checkpoints" / stage.key / "meta.json").stat().st_mtime
            file = toy.storage / "toy" / "results" / f"{row.key}.parquet"
            published["evaluate_row", *cell] = file.stat().st_mtime
            published.setdefault(("score", *cell), file.stat().st_mtime)
    late = []
    for entry in toy.diary.iterdir():
        name, *_, shape, method, seed, dose, _ = entry.name.split()
        if entry.stat().st_mtime > published[name, shape, method, seed, dose]:
            late.append(entry.name)
    return late
