"""Channels that go together as a network itself tells, where a tracer cannot follow them: in attention, and where
tokens and channels change places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from robustprune.structures.groups import CoupledGroup, Members

Channels = Mapping[str, Tensor]
"""Of layers, by name: the channels that each decision takes, (decisions, channels of each) int64."""


@dataclass(frozen=True, kw_only=True)
class Coupling:
    """Channels that go together; see `CoupledGroup`, whose words these are.

    Attributes:
        filters: output channels.
        readers: input channels.
        norms: channels of norms.
        gates: output channels of layers and norms where a gate multiplies, in place of what is read; all of those
            readers read through these.
    """

    filters: Channels
    readers: Channels = field(default_factory=dict)
    norms: Channels = field(default_factory=dict)
    gates: Channels = field(default_factory=dict)


@runtime_checkable
class TellsCouplings(Protocol):
    """A network that knows which of its channels go together."""

    def couplings(self) -> list[Coupling]:
        """Return what can be pruned of the network as it is now; each filter occurs once."""


def single(channels: int) -> Tensor:
    """Return decisions that take one channel each: (channels, 1)."""
    return torch.arange(channels)[:, None]


def strided(channels: int, *, times: int, start: int = 0) -> Tensor:
    """Return decisions that take one channel of every run of `channels`, of which there are so many: (channels, times).

    >>> strided(2, times=3).tolist()
    [[0, 2, 4], [1, 3, 5]]
    """
    return start + torch.arange(channels)[:, None] + channels * torch.arange(times)


def declared_groups(network: nn.Module) -> list[CoupledGroup] | None:
    """Return the groups that a part of the network tells of, in the order of its layers; None where no part tells."""
    modules = dict(network.named_modules())
    telling = [(name, module) for name, module in modules.items() if isinstance(module, TellsCouplings)]
    if not telling:
        return None
    depth = {name: place for place, name in enumerate(modules)}
    present: dict[tuple[str, int], Tensor] = {}
    groups = [
        _group(network, coupling, prefix=f"{name}." if name else "", present=present)
        for name, module in telling
        for coupling in module.couplings()
    ]
    return sorted(groups, key=lambda group: depth[next(iter(group.filters))])


def _group(
    network: nn.Module, coupling: Coupling, *, prefix: str, present: dict[tuple[str, int], Tensor]
) -> CoupledGroup:
    filters, readers, norms, gates = (
        {prefix + name: _members(channels) for name, channels in found.items()}
        for found in (coupling.filters, coupling.readers, coupling.norms, coupling.gates)
    )
    return CoupledGroup(
        decisions=len(next(iter(coupling.filters.values()))),
        filters=filters,
        readers=readers,
        norms=norms,
        gates=gates,
        dependencies=_Removal(network, present, [(filters, 0), (norms, 0), (readers, 1)]),
    )


def _members(channels: Tensor) -> Members:
    decisions = torch.arange(len(channels))[:, None].expand(channels.shape)
    return Members(channels.flatten(), decisions.flatten())


class _Removal:
    """Takes channels out of layers; several groups may have channels of the same layer."""

    def __init__(
        self,
        network: nn.Module,
        present: dict[tuple[str, int], Tensor],
        sides: Sequence[tuple[Mapping[str, Members], int]],
    ) -> None:
        """Take layers' members by the dimension of the weight; `present`, of all groups, has the channels still there
        under the numbers that they had at first.
        """
        self._network, self._present, self._sides = network, present, sides

    def prune(self, decisions: Sequence[int]) -> None:
        """Remove what some decisions take."""
        for members_of, side in self._sides:
            for name, members in members_of.items():
                module = self._network.get_submodule(name)
                gone = members.indices[torch.isin(members.decisions, torch.tensor(decisions))]
                before = self._present.get((name, side), torch.arange(_weight(module).shape[side]))
                stays = ~torch.isin(before, gone)
                self._present[name, side] = before[stays]
                _cut(module, side, stays.nonzero()[:, 0])


def _cut(module: nn.Module, side: int, stays: Tensor) -> None:
    """Keep the channels `stays` of a layer or norm, on one side."""
    module.weight = _kept(_weight(module), side, stays)
    if side == 0 and isinstance(bias := module.bias, nn.Parameter):
        module.bias = _kept(bias, 0, stays)
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Conv2d):
        module.out_channels, module.in_channels = module.weight.shape[:2]
    else:
        assert isinstance(module, nn.LayerNorm)
        module.normalized_shape = tuple(module.weight.shape)


def _kept(parameter: nn.Parameter, side: int, stays: Tensor) -> nn.Parameter:
    kept = parameter.detach().index_select(side, stays.to(parameter.device))
    return nn.Parameter(kept, requires_grad=parameter.requires_grad)


def _weight(module: nn.Module) -> nn.Parameter:
    weight = module.weight
    assert isinstance(weight, nn.Parameter)
    return weight
