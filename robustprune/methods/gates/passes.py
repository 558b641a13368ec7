"""The robust loss of a network through gates, open or closed, without the work that makes no difference to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from robustprune.methods.gates.closed import Smaller, can_be_left_out
from robustprune.methods.gates.parameters import gated
from robustprune.methods.gates.reading import read_through
from robustprune.structures.groups import CoupledGroup
from robustprune.training.objective import Objective

_Each = TypeVar("_Each")


class GatedPasses:
    """What an objective is of a network through gates."""

    def __init__(self, network: nn.Module, groups: Sequence[CoupledGroup]) -> None:
        """Find out what can be left undone.

        Args:
            network: in training; its weights need no gradient, and stay as they are.
            groups: of it.
        """
        self._network, self._groups = network, groups
        # Dropout draws in the order of memory, in which fewer channels lie otherwise.
        draws = any(isinstance(module, _DropoutNd) and module.p > 0 for module in network.modules())
        self._leaves = [False] * len(groups) if draws else can_be_left_out(network, groups)
        self._smaller = Smaller(network, self._of(groups)) if any(self._leaves) else None

    def loss(
        self, objective: Objective, inputs: Tensor, targets: Any, gates: Sequence[Tensor], kept: Sequence[Tensor]
    ) -> Tensor:
        """Return the objective of a batch, to be differentiated by the gates: that of `gated` weights but for rounding.

        The attack is that of the network without closed channels. The pass that is differentiated is one of the whole
        network, in which nobody reads them.

        Args:
            objective: see `training.objective`.
            inputs: see there.
            targets: see there.
            gates: of every group, (decisions,), of the values 1 and 0.
            kept: which of them are 1, boolean.
        """
        if self._smaller is None or not _leaves_out(objective):
            return objective(self._network, inputs, targets, gated(self._network, self._groups, gates))
        others = [not leaves for leaves in self._leaves]
        weights = gated(self._network, self._of(self._groups, others), self._of(gates, others))
        own, kept = self._of(self._groups), self._of(kept)
        if objective.attack is not None:
            smaller = self._smaller.without(kept, weights)
            found = objective.attacked(smaller, inputs, targets)
        read, heard = _read(self._network, own, self._of(gates)), _heard(self._network, own, kept)
        with read_through(self._network, read, heard):
            if objective.attack is None:
                return objective(self._network, inputs, targets, weights)
            return objective.of_attacked(self._network, inputs, found, targets, weights)

    def _of(self, each: Sequence[_Each], chosen: Sequence[bool] | None = None) -> list[_Each]:
        """Return those of the groups that can be left out, or others."""
        chosen = self._leaves if chosen is None else chosen
        return [one for one, is_chosen in zip(each, chosen, strict=True) if is_chosen]


def _leaves_out(objective: Objective) -> bool:
    """Say whether an objective can be taken in parts, and differently at every step."""
    if not isinstance(objective, Objective):
        return False
    # What is compiled would be compiled anew; a term of gradients is differentiated twice, as `reading` is not.
    is_compiled = getattr(getattr(objective.task, "compute", None), "compile", False)
    return objective.alignment is None and not is_compiled


def _read(network: nn.Module, groups: Sequence[CoupledGroup], gates: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the gates of what layers read, (inputs,), by the layer's name."""
    found: dict[str, Tensor] = {}
    for group, gate in zip(groups, gates, strict=True):
        for name, members in group.readers.items():
            layer = network.get_submodule(name)
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            width = layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features
            indices, decisions = (each.to(gate.device) for each in members)
            found[name] = found.get(name, gate.new_ones(width)).index_put((indices,), gate[decisions])
    return found


def _heard(network: nn.Module, groups: Sequence[CoupledGroup], kept: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the filters of layers that anything reads, (count,), by the layer's name, where not all are."""
    is_heard: dict[str, Tensor] = {}
    for group, stays in zip(groups, kept, strict=True):
        for name, members in group.filters.items():
            weight = network.get_submodule(name).weight
            assert isinstance(weight, Tensor)
            own = is_heard.setdefault(name, torch.ones(len(weight), dtype=torch.bool))
            own[members.indices] = stays.cpu()[members.decisions]
    return {name: own.nonzero()[:, 0] for name, own in is_heard.items() if not own.all()}
