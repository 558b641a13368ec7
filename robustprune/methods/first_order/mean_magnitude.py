"""The mean over micro-batches of the magnitude of something that every weight has, such as its contribution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from robustprune.core.progress import NOWHERE, Progress, reporter


def mean_magnitude(
    by_batch: Iterable[Mapping[str, Tensor]], *, batches: int, progress: Progress = NOWHERE
) -> dict[str, Tensor]:
    """Return the mean over micro-batches of |value|, in float32.

    Args:
        by_batch: signed values of every layer, by micro-batch.
        batches: how many micro-batches there are.
        progress: is told of every one.
    """
    importance: dict[str, Tensor] = {}
    report = reporter(progress)
    report(0, batches, "batch")
    for done, signed in enumerate(by_batch, start=1):
        for name, value in signed.items():
            importance[name] = importance.get(name, 0) + value.abs() / batches
        report(done, batches, "batch")
    return {name: total.float() for name, total in importance.items()}
