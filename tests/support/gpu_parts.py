"""Parts of the GPU benchmark that go wrong, each in its way."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from benchmarks.gpu.figures import Bench, Figure


def good(bench: Bench) -> Iterator[Figure]:
    """Tell in which process it ran."""
    yield Figure("process", os.getpid())


def wrong(bench: Bench) -> Iterator[Figure]:
    """Find what must not be."""
    yield Figure("error", 0.5, holds=False)


def fails(bench: Bench) -> Iterator[Figure]:
    """Measure one thing, and fail at the next."""
    yield Figure("first", 1.0)
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nSearch for `cudaErrorIllegalAddress'")


def dies(bench: Bench) -> Iterator[Figure]:
    """Take its process along."""
    yield Figure("first", 1.0)
    os._exit(7)


def hangs(bench: Bench) -> Iterator[Figure]:
    """Wait for a device that does not answer."""
    yield Figure("first", 1.0)
    time.sleep(600)


def long(bench: Bench) -> Iterator[Figure]:
    """Go on for ever, one figure after another."""
    while True:
        yield Figure("next", 1.0)
        time.sleep(0.1)
