"""Who asks for the status of a sweep from elsewhere hears how far its stages are."""

from __future__ import annotations

import functools
import io
import re
import threading

import pytest
from rich.console import Console

from sweeps import running
from sweeps.reporting.terminal import status
from sweeps.storage.leases import Leases
from tests.support.toy_run import ToyRun

pytestmark = pytest.mark.slow

ONE_TRIAL = ("grid.shape=[round]", "grid.method=[quick]", "grid.seed=[0]", "grid.dose=[0]")


def test_status_tells_the_epoch_while_a_stage_trains(toy_here: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "Leases", functools.partial(Leases, beat_every_s=0.2))
    said, over = io.StringIO(), threading.Event()

    def ask() -> None:
        console = Console(file=said, width=120, emoji=False)
        while not over.wait(0.2):
            if (toy_here.storage / "toy" / "spec.yaml").exists():
                status.show(str(toy_here.storage / "toy"), console)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        toy_here.run_here("epochs=9", "seconds=0.5", *ONE_TRIAL)
    finally:
        over.set()
        asking.join()
    told = re.findall(
        r"^  round quick 0, pretrain: epoch (\d) of 9( done, loss [\d.]+, [\d.]+ s each)?", said.getvalue(), re.M
    )
    assert ("1", "") in told
    assert len({epoch for epoch, measured in told if measured}) >= 1
    said.truncate(0)
    status.show(str(toy_here.storage / "toy"), Console(file=said, width=120))
    assert "epoch" not in said.getvalue()
