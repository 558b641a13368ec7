"""Batch norm's statistics: those of one batch meanwhile, or the average over several in place of the running ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustprune.core.errors import InputError
from robustprune.task import Task


def tracked(network: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms of a network that keep running statistics."""
    return [each for each in network.modules() if isinstance(each, _BatchNorm) and each.running_mean is not None]


def remembered(network: nn.Module, steps: int) -> float:
    """Return the largest share of running statistics that is left, after training steps, of what was before them.

    In [0, 1]; 0 for a network without batch norm. A step leaves 1 − momentum of an exponential average. A cumulative
    one (`momentum=None`) forgets nothing.
    """
    shares = (1.0 if norm.momentum is None else (1 - norm.momentum) ** steps for norm in tracked(network))
    return max(shares, default=0.0)


@contextmanager
def statistics_of(
    inputs: Tensor, network: nn.Module, task: Task, weights: Mapping[str, Tensor] | None = None
) -> Iterator[None]:
    """Let batch norm's running statistics be those of one batch meanwhile.

    Args:
        inputs: the batch, (N, …).
        network: in any mode, which it keeps.
        task: the network's.
        weights: parameters in place of the network's own, by name.
    """
    norms = tracked(network)
    if not norms:
        yield
        return
    kept = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    _remember(inputs, network, task, weights or {})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, buffer in norm.named_buffers():
                buffer.copy_(buffers[name])


def batch_statistics(
    inputs: Tensor, network: nn.Module, task: Task, weights: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the running statistics of `statistics_of`, by the name of the network's buffer, in memory of their own."""
    with statistics_of(inputs, network, task, weights):
        return {
            f"{name}.{buffer}": statistic.clone()
            for name, module in network.named_modules()
            if isinstance(module, _BatchNorm)
            for buffer, statistic in module.named_buffers()
        }


def average_statistics(network: nn.Module, task: Task, batches: Iterable[Tensor]) -> None:
    """Set batch norm's running statistics to their averages over batches, each of which counts by its size.

    Nothing of what they were is left. No weight changes. A network without batch norm asks for no batch.

    Args:
        network: in any mode, which it keeps.
        task: the network's.
        batches: of inputs, (N, …). Not to be attacked on the way by way of this same network: its statistics move.

    Raises:
        InputError: there is no batch; the statistics stay what they were.
    """
    norms = tracked(network)
    if not norms:
        return
    totals = [torch.zeros(2, norm.num_features, dtype=torch.float64) for norm in norms]
    count = 0
    for inputs in batches:
        _remember(inputs, network, task, {})
        for total, norm in zip(totals, norms, strict=True):
            total += len(inputs) * _running(norm).double().cpu()
        count += len(inputs)
    if not count:
        raise InputError("found no batch of images to average batch norm's statistics over, expected at least one")
    with torch.no_grad():
        for norm, total in zip(norms, totals, strict=True):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            mean, variance = total / count
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)


def _remember(inputs: Tensor, network: nn.Module, task: Task, weights: Mapping[str, Tensor]) -> None:
    """Set batch norm's running statistics to those of a batch; all else, such as dropout, is as in eval mode.

    A batch norm that its network holds in eval mode in training too keeps its own.
    """
    modes = {module: module.training for module in network.modules()}
    network.train()
    norms = [norm for norm in tracked(network) if norm.training]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    try:
        with torch.no_grad():
            task.outputs(network, inputs, weights)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode


def _running(norm: _BatchNorm) -> Tensor:
    """Return mean and variance, (2, channels)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return torch.stack([norm.running_mean, norm.running_var])
