"""Measuring what rows have kept runs on the engine as a sweep does: shared among workers, whose deaths it survives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sweeps
from tests.support import toy_measured
from tests.support.toy_run import ToyRun

pytestmark = pytest.mark.slow


def measure(location: str, *under: str | dict[str, Any]) -> Any:
    return sweeps.measure(location, *under, where="dose == 1", quiet=True)


def test_rows_are_measured_once_though_a_worker_dies(toy_here: ToyRun) -> None:
    toy_here.spec.write_text(toy_measured.SPEC)
    toy_here.run_here("kill_in=measure flat quick 1")
    kept = str(toy_here.storage / "toy")
    before = toy_here.snapshot()
    found = measure(kept, "cup")
    assert found.is_complete
    assert found.location == f"{kept}-measured"
    assert Path(found.report).is_file()
    assert len(found.frame) == 8
    assert (toy_here.diary / "killed once").exists()
    assert toy_here.stages()["measure"] == 8 + 1
    measure(kept, "cup", {"size": 2})
    rows = sweeps.load_results(kept, measured=True)
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
