"""Inference time that survives a drifting machine: candidates take turns, and the median is what counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch


class Timing(NamedTuple):
    """Milliseconds per call."""

    mean: float
    p50: float
    p95: float


def time_columns(pruned: Timing, dense: Timing) -> dict[str, float]:
    """Return the columns of a row on the time that a pruned model takes, and the unpruned one that took turns with it.

    `speedup` is the ratio of medians: a mean would remember every hiccup of the machine.
    """
    return {
        "inference_ms": pruned.mean,
        "inference_ms_p50": pruned.p50,
        "inference_ms_p95": pruned.p95,
        "inference_ms_dense": dense.mean,
        "inference_ms_dense_p50": dense.p50,
        "speedup": dense.p50 / pruned.p50,
    }


def take_turns(
    candidates: Sequence[Callable[[], object]], *, repeats: int, warm_up: int, device: torch.device
) -> list[Timing]:
    """Time every candidate `repeats` times, alternating, so that a slow moment of the machine meets all of them.

    The order within a round rotates: nobody always runs on the caches the same neighbour left.
    """
    samples: list[list[float]] = [[] for _ in candidates]
    for turn in range(warm_up + repeats):
        for position in range(len(candidates)):
            index = (turn + position) % len(candidates)
            _synchronize(device)
            start = time.perf_counter()
            candidates[index]()
            _synchronize(device)
            if turn >= warm_up:
                samples[index].append(1000 * (time.perf_counter() - start))
    return [Timing(float(np.mean(s)), float(np.median(s)), float(np.percentile(s, 95))) for s in samples]


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
