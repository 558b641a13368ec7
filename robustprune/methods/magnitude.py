"""The magnitude of weights (Han et al. 2015), and of whole channels (Li et al. 2017)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from robustprune.core.operations import Work
from robustprune.methods.entry import InitializerEntry, NoSettings
from robustprune.methods.problem import Problem
from robustprune.structures.groups import CoupledGroup, Members
from robustprune.structures.spread import spread


def magnitude(network: nn.Module, problem: Problem, settings: NoSettings) -> dict[str, Tensor]:
    """Return |W| per layer; where whole channels are pruned, every weight of a filter has the norm of its channel.

    That norm is told beside the mean of its group's: it grows with the number of weights, which differs from layer to
    layer.
    """
    if not problem.is_coupled:
        return {name: layer.weight.detach().abs() for name, layer in problem.layers(network).items()}
    network = copy.deepcopy(network)
    groups = problem.groups(network)
    norms = [channel_norms(network, group) for group in groups]
    tiny = torch.finfo(torch.float32).tiny  # for a group of zeros
    relative = [norm / norm.mean().clamp(min=tiny) for norm in norms]
    return spread(relative, groups, problem.layers(network, groups))


def channel_norms(network: nn.Module, group: CoupledGroup) -> Tensor:
    """Return the L1 norm of the weights that come and go with each channel, averaged over the layers of its group.

    Those are its filters, the weights that read it, and its scale in batch norm, as in torch-pruning; filters of
    depthwise convolutions, which that leaves out, count too.

    Returns:
        (decisions,), at least 0.
    """
    kinds: list[tuple[Mapping[str, Members], Callable[[Tensor], Tensor]]] = [
        (group.filters, lambda weight: weight.flatten(1).abs().sum(1)),
        (group.readers, lambda weight: weight.transpose(0, 1).flatten(1).abs().sum(1)),
        (group.norms, lambda weight: weight.abs()),
    ]
    parts = [part for members, norm in kinds for part in _by_layer(network, members, norm, group.decisions)]
    return torch.stack(parts).sum(dim=0) / len(parts)


def _by_layer(
    network: nn.Module, members: Mapping[str, Members], norm: Callable[[Tensor], Tensor], decisions: int
) -> list[Tensor]:
    found = []
    for name, (indices, subject) in members.items():
        weight = network.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        values = norm(weight.detach())
        if len(values) < int(indices.max()) + 1:  # a grouped layer's filters read channels of their own group alone
            continue
        found.append(
            values.new_zeros(decisions).scatter_add_(0, subject.to(values.device), values[indices.to(values.device)])
        )
    return found


def _work(settings: NoSettings, **_: object) -> Work:
    return Work("magnitude's scores", 0.0)


MAGNITUDE = InitializerEntry(
    score=magnitude, per_structure=True, comparable=True, sees_images=False, attacks=False, work=_work
)
