"""Measuring what rows have kept runs on the engine as a sweep does: shared among workers, whose deaths it survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps import load_results, measure
from tests.support import toy_measured
from tests.support.command_line import Sweeps
from tests.support.toy_run import ToyRun

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("error:Attempting to set identical")  # of curves, where rows are of a single dose
def test_rows_are_measured_once_though_a_worker_dies(toy_here: ToyRun, sweeps: Sweeps) -> None:
    toy_here.spec.write_text(toy_measured.SPEC)
    toy_here.run_here("kill_in=measure flat quick 1")
    kept = str(toy_here.storage / "toy")
    before = toy_here.snapshot()
    found = measure(kept, "cup", where="dose == 1", quiet=True)
    assert found.is_complete
    assert found.location == f"{kept}-measured"
    assert found.report is not None
    assert Path(found.report).is_file()
    assert len(found.frame) == 8
    assert (toy_here.diary / "killed once").exists()
    assert toy_here.stages()["measure"] == 8 + 1
    measure(kept, "cup", {"size": 2}, where="dose == 1", quiet=True)
    rows = load_results(kept, measured=True)
    assert rows.groupby("vessel")["outcome"].agg(["count", "max"]).to_dict("index") == {
        "cup": {"count": 8, "max": 0.01},
        "spoon size=2": {"count": 8, "max": 0.5},
    }
    (gone, *_) = Path(f"{kept}-measured", "results").iterdir()
    gone.unlink()
    ran = sweeps("measure", kept)
    assert (ran.status, ran.errors) == (0, "")
    assert "toy-measured: 15 of 16 rows are finished; computing 1 in 1 trials" in ran.output
    assert toy_here.stages()["measure"] == 8 + 1 + 8 + 1, "what was there was measured again"
    assert gone.exists()
    assert before.items() <= toy_here.snapshot().items(), "the sweep itself was changed"
