"""A speed-up tells its own noise: intervals cover what they should, and a machine too busy to tell is doubted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch

from robustprune.core import timing
from robustprune.core.timing import TIME_COLUMNS, Comparison, TimingSettings, compare, median_interval, uninterrupted

CPU = torch.device("cpu")
DENSE, PRUNED = 2.0, 0.5
SETTINGS = TimingSettings()


class Machine:
    """A clock that stands still but for what runs, which takes `seconds(turn)`, and for pauses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.turns, self.pauses = 0.0, count(), list[float]()
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.pauses.append)

    def run(self, seconds: Callable[[int], float]) -> None:
        self.now += seconds(next(self.turns))


def compared(
    machine: Machine,
    noisy: Callable[[float, int], float],
    *,
    copy: float = DENSE,
    settings: TimingSettings = SETTINGS,
) -> Comparison:
    """Compare networks of `PRUNED`, `DENSE` and `copy` seconds on a machine that makes other times of these."""
    calls = [partial(machine.run, partial(noisy, seconds)) for seconds in (PRUNED, DENSE, copy)]
    return compare(*calls, settings=settings, device=CPU)


@pytest.mark.parametrize(
    ("n", "places"),
    # As tabulated for the sign test: the smallest and largest of 6 to 8, the second of 9 to 11, the sixth of 20, ...
    [
        (5, None),
        (6, (1, 6)),
        (8, (1, 8)),
        (9, (2, 8)),
        (12, (3, 10)),
        (20, (6, 15)),
        (40, (14, 27)),
        (2000, (956, 1045)),
    ],
)
def test_the_interval_of_a_median_is_that_of_the_sign_test(n: int, places: tuple[int, int] | None) -> None:
    values = np.random.default_rng(0).permutation(np.arange(1, n + 1))
    found = median_interval(values)
    assert found.median == (n + 1) / 2
    assert (found.low, found.high) == (places or (None, None))


@pytest.mark.parametrize("n", [6, 11, 40])
def test_it_covers_the_median_of_any_distribution_in_95_of_100_cases(n: int) -> None:
    draws = np.random.default_rng(n).lognormal(sigma=1.0, size=(2000, n))
    covered = [found.low <= 1 <= found.high for found in map(median_interval, draws)]  # type: ignore[operator]
    assert 0.94 <= np.mean(covered) < 1


def test_equal_turns_give_the_ratio_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(Machine(monkeypatch), lambda seconds, turn: seconds)
    assert found.speedup == pytest.approx((4, 4, 4))
    assert found.control == pytest.approx((1, 1, 1))
    assert (found.turns, found.is_doubtful) == (40, False)
    assert found.pruned == pytest.approx((500, 500, 500))


def test_drift_cancels_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(Machine(monkeypatch), lambda seconds, turn: seconds * 1.01**turn)
    assert found.dense.p95 > 1.5 * found.dense.p50
    assert found.speedup.is_within(3.9, 4.1)
    assert found.is_doubtful is False


def test_the_intervals_of_whole_comparisons_cover_the_ratio_though_they_end_when_narrow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng, covered, turns = np.random.default_rng(0), [], set()
    for _ in range(250):
        noise = iter(np.exp(0.09 * rng.normal(size=3 * 170)).tolist())
        found = compared(Machine(monkeypatch), lambda seconds, turn, noise=noise: seconds * next(noise))  # type: ignore[misc]
        covered.append(found.speedup.is_within(0, 4) or found.speedup.is_within(4, 99))
        turns.add(found.turns)
    assert 0.02 < np.mean(covered) < 0.075  # of those that miss it
    assert turns == {40, 80, 120}


def test_it_goes_on_until_the_interval_is_as_narrow_as_asked_for_or_the_limit_is_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)

    def noisy(seconds: float, turn: int) -> float:
        return seconds * float(np.exp(0.05 * rng.normal()))

    for precision, turns in ((0.05, {40}), (0.025, {80, 120}), (0.001, {160})):
        settings = TimingSettings(timing_precision=precision)
        found = compared(Machine(monkeypatch), noisy, settings=settings)
        assert found.turns in turns
        assert found.speedup.low is not None
        assert found.speedup.high is not None
        half = (found.speedup.high - found.speedup.low) / 2 / found.speedup.median
        assert (half <= precision) == (found.turns < 160)
    assert (
        compared(Machine(monkeypatch), noisy, settings=TimingSettings(timing_precision=0.001, timing_most=1)).turns
        == 40
    )


def test_interruptions_that_hit_the_longer_turn_more_often_make_no_speed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)

    def interrupted(seconds: float, turn: int) -> float:
        often = 1 - np.exp(-seconds / 3)  # 49% of the dense turns, 15% of the pruned ones
        return seconds * float(np.exp(0.02 * rng.normal())) + 8.0 * float(rng.random() < often)

    machine = Machine(monkeypatch)
    found = compared(machine, interrupted)
    assert found.is_doubtful is False
    assert found.speedup.is_within(3.8, 4.2)
    # What is told without leaving these rounds out: several times as much.
    rounds = timing.milliseconds(
        [partial(machine.run, partial(interrupted, seconds)) for seconds in (PRUNED, DENSE)],
        repeats=400,
        warm_up=0,
        device=CPU,
    )
    assert np.quantile(rounds[:, 1] / rounds[:, 0], 0.6) > 8
    assert len(uninterrupted(rounds)) < 250


def test_a_control_that_stays_off_is_measured_again_after_growing_pauses_and_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch)
    found = compared(machine, lambda seconds, turn: seconds, copy=1.15 * DENSE)
    assert machine.pauses == [0.25, 1.0]
    assert next(machine.turns) == 3 * 3 * (5 + 4 * 40)
    assert found.is_doubtful is True
    assert found.control == pytest.approx((1.15, 1.15, 1.15))


def test_a_control_that_was_off_for_a_moment_leaves_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    rng = np.random.default_rng(0)

    def uneasy(seconds: float, turn: int) -> float:
        return seconds if machine.pauses else seconds * float(rng.uniform(0.2, 5))

    found = compared(machine, uneasy)
    assert machine.pauses == [0.25]
    assert found.is_doubtful is False
    assert found.speedup == pytest.approx((4, 4, 4))


def test_a_machine_so_uneasy_that_equals_cannot_be_told_to_be_equal_is_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    found = compared(Machine(monkeypatch), lambda seconds, turn: seconds * float(rng.uniform(0.2, 5)))
    assert found.is_doubtful is True
    assert found.turns == 160


def test_too_few_turns_tell_neither_interval_nor_doubt_and_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    found = compared(machine, lambda seconds, turn: seconds * 1.5**turn, settings=TimingSettings(timing_repeats=5))
    assert (found.turns, found.is_doubtful, found.speedup.low, found.control.high) == (5, None, None, None)
    assert next(machine.turns) == 3 * 10


def test_columns_are_those_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = compared(Machine(monkeypatch), lambda seconds, turn: seconds * 1.001**turn).columns()
    assert columns.keys() == TIME_COLUMNS.keys()
    assert all(isinstance(value, TIME_COLUMNS[name]) for name, value in columns.items())
    assert columns["speedup_low"] < columns["speedup"] < columns["speedup_high"]
    assert columns["inference_ms_dense_p50"] / columns["inference_ms_p50"] == pytest.approx(4, rel=0.05)


@pytest.fixture
def busy() -> Iterator[None]:
    """Keep every core busy, three times over."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3 * (os.cpu_count() or 1))]
    yield
    for burner in burners:
        burner.kill()
        burner.wait()


@pytest.mark.slow
@pytest.mark.usefixtures("busy")
def test_on_a_busy_machine_the_interval_holds_or_the_row_is_marked() -> None:
    def work(rounds: int) -> None:
        for _ in range(rounds):
            torch.mm(matrix, matrix)

    torch.set_num_threads(1)
    matrix = torch.rand(160, 160)
    for _ in range(4):
        found = compare(*(partial(work, rounds) for rounds in (5, 10, 10)), settings=TimingSettings(), device=CPU)
        assert found.speedup.low is not None
        assert found.speedup.high is not None
        # A twentieth on either side: what the quiet ratio is, is measured too.
        assert found.is_doubtful or (found.speedup.low <= 2.1 and found.speedup.high >= 1.9)
