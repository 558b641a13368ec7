"""The mean over micro-batches of the magnitude of something that every weight has, such as its contribution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor


def mean_magnitude(by_batch: Iterable[Mapping[str, Tensor]], *, batches: int) -> dict[str, Tensor]:
    """Return the mean over micro-batches of |value|, in float32.

    Args:
        by_batch: signed values of every layer, by micro-batch.
        batches: how many micro-batches there are.
    """
    importance: dict[str, Tensor] = {}
    for signed in by_batch:
        for name, value in signed.items():
            importance[name] = importance.get(name, 0) + value.abs() / batches
    return {name: total.float() for name, total in importance.items()}
