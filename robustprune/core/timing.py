"""Inference time that survives a drifting machine: candidates take turns, and a comparison tells its own noise."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from robustprune.core.settings import Settings

FEWEST = 6
"""Values whose median has a 95% interval: of five, even the smallest and the largest miss it in 6 of 100 cases."""

INTERRUPTED = 1.5
"""Times a network's lower quartile that a turn takes which the machine interrupted for something else."""

PAUSES = 0.25, 1.0
"""Seconds to wait before a comparison that its control speaks against is made again, and once more."""

TIME_COLUMNS: dict[str, type] = {
    "inference_ms": float,
    "inference_ms_p50": float,
    "inference_ms_p95": float,
    "inference_ms_dense": float,
    "inference_ms_dense_p50": float,
    "speedup": float,
    "speedup_low": float,
    "speedup_high": float,
    "speedup_control": float,
    "speedup_control_low": float,
    "speedup_control_high": float,
    "timing_turns": int,
    "timing_doubtful": bool,
}
"""Columns of a row on the time that a pruned network takes; see `Comparison`."""

DOUBTS = dict.fromkeys(
    (name for name in TIME_COLUMNS if name.startswith(("inference", "speedup")) and "control" not in name),
    ("timing_doubtful", "accelerator"),
)
"""Which columns say that another one's value is not to be trusted, or not to be compared with that of another machine;
see `sweeps.study.Study.doubts`."""


class TimingSettings(Settings):
    """How often inference is timed."""

    timing_repeats: int = Field(
        default=40, ge=1, description="turns of each network; fewer than 6 tell no interval, and are never repeated"
    )
    timing_warm_up: int = Field(default=5, ge=0, description="turns before, which do not count")
    timing_precision: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="share of a speed-up that half of its 95% interval may be; else turns are added",
    )
    timing_most: int = Field(default=4, ge=1, description="so many times as many turns are taken at most")


class Timing(NamedTuple):
    """Milliseconds per call."""

    mean: float
    p50: float
    p95: float


class Interval(NamedTuple):
    """A median, and the ends of an interval that covers that of the population in 95 of 100 cases at least; None where
    the values are too few for one. Where values were added until it was narrow, as `compare` does, in 90 at least."""

    median: float
    low: float | None
    high: float | None

    def is_within(self, low: float, high: float) -> bool:
        """Say whether there is an interval, and all of it lies between two numbers."""
        return self.low is not None and self.high is not None and low <= self.low and self.high <= high


class Comparison(NamedTuple):
    """A pruned network, the unpruned one and a copy of that, which took turns.

    Attributes:
        pruned: time of the pruned network.
        dense: that of the unpruned one.
        speedup: the unpruned network's time over the pruned one's in the same round; of rounds without interruption.
        control: the copy's time over the unpruned network's likewise, which are equals: 1, but for noise.
        turns: rounds that were made.
        is_doubtful: whether the control's interval reaches further from 1 than twice the precision asked for: on so
            uneasy a machine no speed-up can be told. None: too few turns to say.
    """

    pruned: Timing
    dense: Timing
    speedup: Interval
    control: Interval
    turns: int
    is_doubtful: bool | None

    def columns(self, *, alone: bool = True) -> dict[str, Any]:
        """Return the values of `TIME_COLUMNS`.

        Args:
            alone: nothing else was computed on the device meanwhile. Otherwise times are in doubt whatever the control
                says: what others do slows large kernels more than small ones, and so one network more than another.
        """
        times = (*self.pruned, self.dense.mean, self.dense.p50)
        doubtful = self.is_doubtful if alone else True
        return dict(zip(TIME_COLUMNS, (*times, *self.speedup, *self.control, self.turns, doubtful), strict=True))


def compare(
    pruned: Callable[[], object],
    dense: Callable[[], object],
    copy: Callable[[], object],
    *,
    settings: TimingSettings,
    device: torch.device,
) -> Comparison:
    """Time a pruned network against the unpruned one, and as a control the unpruned one against a copy of itself.

    Rounds are added until the speed-up's interval is as narrow as asked for and the control is at 1, or there are
    `timing_most` times as many. Where the control is off even then, all is measured again after a pause, twice at most.

    A speed-up is the median of the rounds' ratios: what slows the machine for longer than a round cancels in each. Left
    out are rounds in which a turn was interrupted, which takes up to 30 times as long where processes share a core:
    the longer turn is hit more often, so that a pruned network would look the faster, the busier the machine.
    """
    take = partial(milliseconds, [pruned, dense, copy], repeats=settings.timing_repeats, device=device)
    found = _compared(take, settings)
    for pause in PAUSES:
        if not found.is_doubtful:
            break
        time.sleep(pause)
        found = _compared(take, settings)
    return found


def _compared(take: Callable[..., npt.NDArray[np.float64]], settings: TimingSettings) -> Comparison:
    rounds = take(warm_up=settings.timing_warm_up)
    found = _comparison(rounds, settings)
    for _ in range(settings.timing_most - 1):
        if found.is_doubtful is None or (not found.is_doubtful and _is_precise(found.speedup, settings)):
            break
        rounds = np.concatenate([rounds, take(warm_up=0)])
        found = _comparison(rounds, settings)
    return found


def _comparison(rounds: npt.NDArray[np.float64], settings: TimingSettings) -> Comparison:
    pruned, dense, copy = uninterrupted(rounds).T
    control, most = median_interval(copy / dense), 2 * settings.timing_precision
    return Comparison(
        pruned=_summary(rounds[:, 0]),
        dense=_summary(rounds[:, 1]),
        speedup=median_interval(dense / pruned),
        control=control,
        turns=len(rounds),
        is_doubtful=not control.is_within(1 - most, 1 + most) if len(rounds) >= FEWEST else None,
    )


def uninterrupted(rounds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the rounds of `milliseconds` in which nobody took `INTERRUPTED` times its lower quartile.

    All of them, where too few would be left to tell anything.
    """
    quiet = rounds[(rounds < INTERRUPTED * np.quantile(rounds, 0.25, axis=0)).all(axis=1)]
    return quiet if len(quiet) >= FEWEST else rounds


def _is_precise(found: Interval, settings: TimingSettings) -> bool:
    if found.low is None or found.high is None:
        return False
    return (found.high - found.low) / 2 <= settings.timing_precision * found.median


def median_interval(values: npt.ArrayLike) -> Interval:
    """Return the median of values, and the 95% interval of it that their order gives, whatever their distribution.

    Of n values, the median of the population lies below the k-th smallest with the probability that a fair coin falls
    on one side less than k times in n: between the k-th smallest and the k-th largest, it is missed with twice that
    (Conover, Practical Nonparametric Statistics, 1999, section 3.2). k is the largest for which that is 5% at most.

    Args:
        values: shape (n,), independent draws of one distribution.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    n = len(ordered)
    median = float(np.median(ordered))
    if n < FEWEST:
        return Interval(median, None, None)
    below, k = 1, 0
    # Whole numbers: of so many coins, floating point would run out of range.
    while 40 * below <= 2**n:
        k += 1
        below += math.comb(n, k)
    return Interval(median, float(ordered[k - 1]), float(ordered[n - k]))


def take_turns(
    candidates: Sequence[Callable[[], object]], *, repeats: int, warm_up: int, device: torch.device
) -> list[Timing]:
    """Time every candidate `repeats` times, alternating, so that a slow moment of the machine meets all of them."""
    rounds = milliseconds(candidates, repeats=repeats, warm_up=warm_up, device=device)
    return [_summary(column) for column in rounds.T]


def milliseconds(
    candidates: Sequence[Callable[[], object]], *, repeats: int, warm_up: int, device: torch.device
) -> npt.NDArray[np.float64]:
    """Return what every candidate took in every round after the warm-up: shape (repeats, candidates), in ms.

    Who begins a round rotates, and every other round goes the other way about: nobody always runs on the caches that
    the same neighbour left.
    """
    rounds = np.empty((warm_up + repeats, len(candidates)))
    for turn in range(warm_up + repeats):
        for position in range(len(candidates)):
            index = (turn + (-position if turn % 2 else position)) % len(candidates)
            _synchronize(device)
            start = time.perf_counter()
            candidates[index]()
            _synchronize(device)
            rounds[turn, index] = 1000 * (time.perf_counter() - start)
    return rounds[warm_up:]


def _summary(times: npt.NDArray[np.float64]) -> Timing:
    return Timing(float(np.mean(times)), float(np.median(times)), float(np.percentile(times, 95)))


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
