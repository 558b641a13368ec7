"""Measuring what rows have kept runs on the engine as a sweep does: shared among workers, whose deaths it survives."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from sweeps import load_results, running
from sweeps.planning.plan import Plan
from sweeps.results.measuring import asked_of
from tests.support import toy_measured
from tests.support.toy_run import ToyRun

pytestmark = pytest.mark.slow


def measure(location: str, *given: str) -> Plan:
    asked = asked_of(location, given, where="dose == 1")
    return running.run(asked.spec, asked.store, Console(file=io.StringIO()))


def test_rows_are_measured_once_though_a_worker_dies(toy_here: ToyRun) -> None:
    toy_here.spec.write_text(toy_measured.SPEC)
    toy_here.run_here("kill_in=measure flat quick 1")
    kept = str(toy_here.storage / "toy")
    before = toy_here.snapshot()
    after = measure(kept, "cup")
    assert (len(after.finished), after.rows) == (8, 8)
    assert (toy_here.diary / "killed once").exists()
    assert toy_here.stages()["measure"] == 8 + 1
    measure(kept, "cup", "{size: 2}")
    rows = load_results(kept, measured=True)
    assert rows.groupby("vessel")["outcome"].agg(["count", "max"]).to_dict("index") == {
        "cup": {"count": 8, "max": 0.01},
        "spoon size=2": {"count": 8, "max": 0.5},
    }
    (gone, *_) = Path(f"{kept}-measured", "results").iterdir()
    gone.unlink()
    measure(kept)
    assert toy_here.stages()["measure"] == 8 + 1 + 8 + 1, "what was there was measured again"
    assert gone.exists()
    assert before.items() <= toy_here.snapshot().items(), "the sweep itself was changed"
