"""What was seen of catastrophic overfitting in a row's trainings: its columns, and its way through a checkpoint."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import nn

from robustprune.core.arrays import Arrays, to_arrays
from robustprune.training import train
from robustprune.training.overfitting import Seen, Watch

PREFIX = "seen."
"""What the names of arrays begin with that a checkpoint has beside its network's state."""

AFTER = "_after"

_SEEN: dict[str, type] = {"overfitting_epoch": int, "fgsm_minus_pgd": float, "gradient_cosine": float}

SEEN_COLUMNS: dict[str, type] = {**_SEEN, **{f"{name}{AFTER}": kind for name, kind in _SEEN.items()}}
"""Columns of the training before pruning, and of the one after it."""

_MEANINGS = {
    "overfitting_epoch": "epoch of the training before pruning, from 1, in which accuracy under PGD fell as "
    "`overfitting.drop` says, so that it ended with the state before; null: in none, or not watched",
    "fgsm_minus_pgd": "accuracy under one step minus accuracy under PGD, on the first images of that epoch or else of "
    "the last one; of detectors, the part of the loss under PGD that one step does not reach; null: not watched",
    "gradient_cosine": "mean cosine of the loss's gradients at these images and beside them, within the ball; 1: alike",
}

SEEN_MEANINGS = {
    **_MEANINGS,
    **{f"{name}{AFTER}": f"the same of the training after pruning ({name})" for name in _MEANINGS},
}


def trained(network: nn.Module, *, watch: Watch | None, **options: Any) -> dict[str, Any]:
    """Train a network in place; return its state, and what was seen of its training where that was watched.

    Args:
        network: left in eval mode.
        watch: of the training, if any.
        options: see `training.train`.
    """
    train(network, watch=watch, **options)
    seen = [] if watch is None else _of(watch.seen)
    return {**to_arrays(network.state_dict()), **{f"{PREFIX}{name}": np.array(value) for name, value in seen}}


def network_state(checkpoint: Arrays) -> dict[str, Any]:
    """Return a checkpoint without what was seen."""
    return {name: array for name, array in checkpoint.items() if not name.startswith(PREFIX)}


def seen_columns(checkpoint: Arrays | None, after: Seen | None) -> dict[str, float | int | None]:
    """Return the columns of a row, by the checkpoint it goes back to, if any, and by the training after pruning."""
    before = {
        name: float(checkpoint[f"{PREFIX}{name}"])
        for name in _SEEN
        if checkpoint is not None and f"{PREFIX}{name}" in checkpoint
    }
    later = {} if after is None else dict(_of(after))
    return {
        **{name: _value(name, before.get(name)) for name in _SEEN},
        **{f"{name}{AFTER}": _value(name, later.get(name)) for name in _SEEN},
    }


def _of(seen: Seen) -> list[tuple[str, float]]:
    return list(zip(_SEEN, seen, strict=True))


def _value(name: str, value: float | None) -> float | int | None:
    """Return a value as rows have it: None where there was nothing to see."""
    if value is None or math.isnan(value):
        return None
    if _SEEN[name] is float:
        return float(value)
    return int(value) or None
