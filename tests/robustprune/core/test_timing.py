"""How candidates take turns, and what they tell of each other; how long anything takes is not tested."""

import time
from functools import partial

import pytest
import torch

from robustprune.core.timing import take_turns

CPU = torch.device("cpu")


@pytest.mark.parametrize(("repeats", "warm_up", "candidates"), [(1, 0, 1), (4, 2, 2), (6, 1, 3)])
def test_everybody_has_as_many_turns_in_every_round(repeats: int, warm_up: int, candidates: int) -> None:
    calls: list[int] = []
    timings = take_turns(
        [partial(calls.append, number) for number in range(candidates)],
        repeats=repeats,
        warm_up=warm_up,
        device=CPU,
    )
    assert len(timings) == candidates
    assert len(calls) == (warm_up + repeats) * candidates
    rounds = [calls[start : start + candidates] for start in range(0, len(calls), candidates)]
    assert all(sorted(turns) == list(range(candidates)) for turns in rounds)
    # Nobody is always first.
    assert [turns[0] for turns in rounds] == [turn % candidates for turn in range(len(rounds))]


def test_twice_the_sleep_is_about_twice_the_time() -> None:
    short, long = take_turns([partial(time.sleep, 0.01), partial(time.sleep, 0.02)], repeats=7, warm_up=1, device=CPU)
    assert short.p50 >= 10
    assert 1.2 < long.p50 / short.p50 < 3.5


def test_the_figures_are_those_of_the_calls_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    seconds = iter([100, 50, 1, 2, 6])

    def work() -> None:
        nonlocal now
        now += next(seconds)

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    (timing,) = take_turns([work], repeats=3, warm_up=2, device=CPU)
    assert timing == pytest.approx((3000, 2000, 5600))


def test_drift_makes_no_difference_between_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    now, speed = 0.0, 1.0

    def work() -> None:
        """Take 1% longer each time."""
        nonlocal now, speed
        speed *= 1.01
        now += speed

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    turns = {"repeats": 40, "warm_up": 5, "device": CPU}
    first, second = take_turns([work, work], **turns)  # type: ignore[arg-type]
    assert first.p50 == pytest.approx(second.p50, rel=1e-3)
    assert first.mean == pytest.approx(second.mean, rel=1e-3)
    # One after the other, they would differ.
    (before,), (after,) = take_turns([work], **turns), take_turns([work], **turns)  # type: ignore[arg-type]
    assert after.p50 > 1.3 * before.p50
