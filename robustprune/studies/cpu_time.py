"""Whether training a checkpoint is too much for a machine without a GPU: an order of magnitude, before it is begun."""

from __future__ import annotations

import torch

OPERATIONS_PER_DAY = 2.5e15
"""Floating-point operations of a day's training on a CPU core, as in the demo; others differ by a factor of a few."""


def has_gpu() -> bool:
    """Say whether this machine has a GPU that PyTorch can use; none is opened."""
    return torch.cuda.device_count() > 0


def too_slow(operations: float, *, fields: str, on_cpu: bool) -> list[str]:
    """Return a sentence where a checkpoint takes days here; else nothing.

    Args:
        operations: floating-point, of the checkpoint that takes the most.
        fields: of the spec, in words, that make it less.
        on_cpu: there is no GPU here.
    """
    days = operations / OPERATIONS_PER_DAY
    if not on_cpu or days < 1:
        return []
    return [f"one checkpoint takes some {days:,.0f} days on a CPU core, and here is no GPU: smaller {fields} take less"]
