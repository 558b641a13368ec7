"""Whatever a process computes, it does on the GPU that it saw first: CUDA keeps to it."""

from __future__ import annotations

import pytest

from benchmarks import engine

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_ray")]

SHORT = ("grid.seed=[0, 1]", "pretrain=0.4", "score=0.1", "ratio=0.2", "parameters=1000")


@pytest.mark.parametrize("packed", [1, 2])
def test_stages_and_rows_and_helpers_run_on_the_gpu_that_ray_assigned(packed: int) -> None:
    found = engine.measure(3, [*SHORT, f"resources.workers_per_gpu={packed}"])
    assert found["rows"] == 10 * 9
    assert found["stages_on_wrong_device"] == 0
