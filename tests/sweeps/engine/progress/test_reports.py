"""A worker tells what its stages report, seldom and with a pace; and whatever they report, they go on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sweeps.engine import messages
from sweeps.engine.progress.reports import TELL_EVERY_S, StageReports, ToDriver
from sweeps.planning.underway import UnderWay

ABOUT = UnderWay("train", "round quick 0", "dose 0.5", "", 0, 0, {})


class Told:
    """What is told of one stage, and a clock to turn."""

    def __init__(self) -> None:
        self.heard: list[UnderWay | None] = []
        self.seconds = 1000.0
        self._reports = StageReports(self._hear, "key", ABOUT, clock=lambda: self.seconds)

    def _hear(self, key: str, stage: UnderWay | None) -> None:
        assert key == "key"
        self.heard.append(stage)

    def report(self, done: Any, of: Any = 10, unit: Any = "epoch", *, after: float = 0.0, **measured: Any) -> None:
        self.seconds += after
        self._reports(done, of, unit, measured)


class Costly:
    """A number that is waited for."""

    asked = 0

    def __float__(self) -> float:
        self.asked += 1
        return 0.5


def test_what_comes_too_soon_is_not_told_nor_looked_at() -> None:
    told, loss = Told(), Costly()
    told.report(0)
    for step in range(1, 100):
        told.report(step / 100, loss=loss, after=TELL_EVERY_S / 10)
    assert len(told.heard) == 1 + 9
    assert loss.asked == 9
    told.report(3, after=TELL_EVERY_S)
    last = told.heard[-1]
    assert last is not None
    assert last.each_s == pytest.approx((9.9 * 2 + 2) / 3)
    assert last == ABOUT._replace(unit="epoch", done=3, of=10, each_s=last.each_s)


def test_a_stage_that_goes_on_from_a_state_has_the_pace_of_what_it_does() -> None:
    told = Told()
    told.report(6)
    told.report(7, after=30.0)
    assert told.heard[-1] is not None
    assert told.heard[-1].each_s == 30


def test_another_part_of_a_stage_is_told_at_once_and_has_a_pace_of_its_own() -> None:
    told = Told()
    told.report(0)
    told.report(10, after=100.0)
    told.report(0, 500, "image")
    told.report(50, 500, "image", after=5.0)
    assert [(stage.unit, stage.each_s) for stage in told.heard if stage is not None] == [
        ("epoch", None),
        ("epoch", 10.0),
        ("image", None),
        ("image", 0.1),
    ]
    told.report(0, 500, "image", after=5.0)  # once more from the first
    assert told.heard[-1] is not None
    assert told.heard[-1].each_s is None


@pytest.mark.parametrize(
    ("said", "measured"),
    [(("many",), {}), ((1, None), {}), ((1, 0), {}), ((1, float("nan")), {}), ((1, 10), {"loss": "low"})],
)
def test_a_report_that_makes_no_sense_is_not_told_and_does_no_harm(said: Any, measured: Any) -> None:
    told = Told()
    told.report(*said, **measured)
    assert told.heard == []


def test_a_driver_that_cannot_be_told_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_for: list[str] = []
    monkeypatch.setattr(messages, "reach", looked_for.append)
    tell = ToDriver("messages-1")
    for _ in range(3):
        tell("key", ABOUT)
    assert looked_for == ["messages-1"]
    ToDriver("")("key", ABOUT)
    assert looked_for == ["messages-1"], "a worker without a name to look for looks for none"

    def broken(*_: Any) -> None:
        raise RuntimeError("the actor died")

    actor = SimpleNamespace(note=SimpleNamespace(remote=broken))
    monkeypatch.setattr(messages, "reach", lambda name: actor)
    ToDriver("messages-1")("key", ABOUT)
