"""The network without the channels whose gates are closed: what an attack sees, whom nothing asks for their gradients.

Places of channels in weights are found once; for other gates the same small network is filled again.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustprune.structures.groups import CoupledGroup, Members


class Smaller:
    """A network of fewer channels."""

    def __init__(self, network: nn.Module, groups: Sequence[CoupledGroup]) -> None:
        """Copy the network.

        Args:
            network: in which channels of the groups can be left out (`can_be_left_out`); not changed.
            groups: of it.
        """
        self._wide, self._network = network, copy.deepcopy(network).requires_grad_(False)
        self._always = sum(group.decisions for group in groups)
        # Of every layer's channels, on each side, the decision that they are subject to, or `_always`.
        self._decisions: dict[tuple[str, int], Tensor] = {}
        for name, side, members, first in _sides(groups):
            own = self._decisions.setdefault(
                (name, side), torch.full((_width(network.get_submodule(name), side),), self._always)
            )
            own[members.indices] = first + members.decisions

    @torch.no_grad()
    def without(self, kept: Sequence[Tensor], weights: Mapping[str, Tensor]) -> nn.Module:
        """Return the network with the channels that are kept, in the mode that the wide one is in.

        It is the same one every time.

        Args:
            kept: of every group (decisions,), boolean.
            weights: parameters to take in place of the wide network's own, by name.
        """
        stays = torch.cat([*(each.cpu() for each in kept), torch.ones(1, dtype=torch.bool)])
        places = {where: stays[own].nonzero()[:, 0] for where, own in self._decisions.items()}
        modules = dict(self._network.named_modules())
        for name, wide in self._wide.named_modules():
            module = modules[name]
            module.training = wide.training
            rows, columns = places.get((name, 0)), places.get((name, 1))
            for own, tensor in [*wide.named_parameters(recurse=False), *wide.named_buffers(recurse=False)]:
                value = weights.get(f"{name}.{own}" if name else own, tensor).detach()
                if value.ndim:
                    value = _at(value, rows, columns)
                _put(module, own, value)
            _renumber(module, wide)
        return self._network


def can_be_left_out(network: nn.Module, groups: Sequence[CoupledGroup]) -> list[bool]:
    """Say of each group whether a network without some of its channels answers as one that does not read them.

    Args:
        network: in eval mode: what is drawn in training may be drawn for each channel.
        groups: of it.
    """
    taken: dict[tuple[str, int], list[Tensor]] = defaultdict(list)
    for name, side, members, _ in _sides(groups):
        taken[name, side].append(members.indices)
    # A channel of two decisions leaves with both of them alone.
    shared = {where for where, indices in taken.items() if torch.cat(indices).bincount().max() > 1}
    return [_leaves(network, group) and shared.isdisjoint(side[:2] for side in _sides([group])) for group in groups]


def _leaves(network: nn.Module, group: CoupledGroup) -> bool:
    # Other norms see all channels at once.
    are_known = all(isinstance(network.get_submodule(name), _BatchNorm) for name in group.norms)
    return group.leaves and bool(group.readers) and are_known and not group.copied and not group.gates


def _sides(groups: Sequence[CoupledGroup]) -> Iterator[tuple[str, int, Members, int]]:
    """Yield layers, the side of their weights, members there, and the number of the group's first decision."""
    first = 0
    for group in groups:
        for found, side in ((group.filters, 0), (group.norms, 0), (group.readers, 1)):
            for name, members in found.items():
                yield name, side, members, first
        first += group.decisions


def _width(layer: nn.Module, side: int) -> int:
    if side == 1:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features
    weight = layer.weight if not isinstance(layer, _BatchNorm) else layer.running_mean
    assert isinstance(weight, Tensor)
    return len(weight)


def _at(value: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    is_last = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
    if rows is not None:
        value = value.index_select(0, rows.to(value.device))
    if columns is not None and value.ndim > 1:
        value = value.index_select(1, columns.to(value.device))
    return value.contiguous(memory_format=torch.channels_last) if is_last else value


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    if name in module._parameters:
        module._parameters[name] = nn.Parameter(value, requires_grad=False)
    else:
        module._buffers[name] = value.clone()


def _renumber(module: nn.Module, wide: nn.Module) -> None:
    """Let a layer say how many channels it has."""
    if isinstance(module, nn.Conv2d):
        assert isinstance(wide, nn.Conv2d)
        module.out_channels = len(module.weight)
        if wide.groups > 1:
            module.groups = wide.groups * module.out_channels // wide.out_channels
        module.in_channels = module.groups * module.weight.shape[1]
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _BatchNorm) and module.running_mean is not None:
        module.num_features = len(module.running_mean)
