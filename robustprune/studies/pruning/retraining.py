"""Train what pruning left of a network, and measure it, without what is gone where that can be; in training, with
statistics of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from robustprune.structures.narrowing import Narrowed
from robustprune.studies.pruning.pruned import Pruned, Retrained
from robustprune.task import Task
from robustprune.training import Objective, Training, train
from robustprune.training.overfitting import Watch
from robustprune.training.renewal import is_due


def retrained(
    network: nn.Module,
    pruned: Pruned,
    *,
    objective: Objective,
    settings: Training,
    renewed: Callable[[nn.Module], float] | None,
    watch: Watch | None,
    chosen_by: Callable[[nn.Module], float] | None = None,
    **training: Any,
) -> Retrained:
    """Train what pruning left of a network, in place, with statistics of batch norm that are its own.

    They are renewed wherever they are read and would be stale: before training, where its epochs are chosen among; and
    in the end, unless it took so many steps that they have forgotten the network before it. Training itself normalises
    by the batch, and its attack too.

    Args:
        network: pruned; left in eval mode.
        pruned: what pruning left.
        objective: see `training.train`, as for the rest.
        settings: of the training.
        renewed: renews statistics of a network, and returns the seconds that took; None: they stay.
        watch: see `training.train`.
        chosen_by: see `training.train`.
        training: see `training.train`.
    """
    # Without a training the network is that which was measured hard-pruned, to the bit.
    narrow = _narrowed(network, pruned, objective.task) if settings.epochs else None
    if narrow is None:
        subject, held = network, pruned.held
    else:
        # As the masked network would be trained, but for rounding, in a fraction of the time.
        subject, held = narrow.network, narrow.masks(pruned.held)
    seconds = 0.0
    if renewed is not None and chosen_by is not None:
        seconds += renewed(subject)
    epoch = train(
        subject, objective=objective, settings=settings, masks=held, chosen_by=chosen_by, watch=watch, **training
    )
    steps = epoch * objective.steps_per_epoch(settings.batch_size)
    done_already = chosen_by is not None and epoch == 0
    if renewed is not None and is_due(subject, steps=steps) and not done_already:
        seconds += renewed(subject)
    if narrow is not None:
        narrow.write_back(network)
    network.eval()
    return Retrained(epoch, seconds, None if watch is None else watch.seen)


def measurable(network: nn.Module, pruned: Pruned, task: Task) -> nn.Module:
    """Return what is measured in place of a network: one without masked filters, which answers as it does but for
    rounding, in a fraction of the time. Where there is none, the network itself.

    Args:
        network: in eval mode; stays as it is.
        pruned: what pruning left of it.
        task: of it.
    """
    narrow = _narrowed(network, pruned, task)
    return network if narrow is None else narrow.network


def _narrowed(network: nn.Module, pruned: Pruned, task: Task) -> Narrowed | None:
    has_idle = bool(pruned.masks and pruned.channels)
    return task.narrowed(network, pruned.held) if has_idle else None
