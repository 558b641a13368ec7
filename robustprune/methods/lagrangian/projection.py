"""The nearest weights that a structure leaves: what ADMM and SLR draw a network to, and cut it down to in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from robustprune.methods.problem import Problem
from robustprune.structures.groups import CoupledGroup, Members
from robustprune.structures.masks import Masks
from robustprune.structures.removal import departing, kept_decisions
from robustprune.structures.spread import spread

WEIGHT = ".weight"


class Projection:
    """Π onto S, the values of a network's parameters that pruning to a structure, scope and ratio could leave.

    What stays is drawn by the structure itself, so that it is what pruning keeps, among equals too. Of single weights
    those of the largest magnitude stay, which no other values of S are nearer to. Where whole channels are pruned, S is
    about all that leaves with them: filters, biases, and scale and shift of batch norm. A channel is worth the norm of
    all that; nearest is what stays then wherever a channel's batch norm is its own.
    """

    def __init__(self, network: nn.Module, problem: Problem) -> None:
        """Project parameters of this network.

        Args:
            network: whose parameters may come out requiring gradients.
            problem: with a structure and a ratio.
        """
        self._network, self._problem = network, problem
        self._groups = problem.groups(network)
        self._layers = problem.layers(network, self._groups)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The network's own that S is about, by name."""
        parameters = dict(self._network.named_parameters())
        everything = [torch.ones(group.decisions, dtype=torch.bool) for group in self._groups]
        leaving = departing(self._network, self._groups, everything)
        return {name: parameters[name] for name in (*(layer + WEIGHT for layer in self._layers), *leaving)}

    @torch.no_grad()
    def scores(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return scores per layer, of the shape of its weights, by which the structure draws the support of Π(values).

        Args:
            values: of `parameters`, by name.
        """
        if not self._problem.is_coupled:
            return {layer: values[layer + WEIGHT].abs().contiguous() for layer in self._layers}
        return spread([_norms(values, group) for group in self._groups], self._groups, self._layers)

    @torch.no_grad()
    def masks(self, values: Mapping[str, Tensor]) -> Masks:
        """Return where Π(values) is not cut to zero, of every parameter, by its name."""
        drawn = self._problem.masks(self.scores(values), self._groups)
        leaving = departing(self._network, self._groups, kept_decisions(self._groups, drawn))
        return {**{layer + WEIGHT: mask for layer, mask in drawn.items()}, **leaving}

    @torch.no_grad()
    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return Π(values), by name; what stays keeps every bit."""
        masks = self.masks(values)
        return {name: value.masked_fill(~masks[name], 0.0) for name, value in values.items()}


def _norms(values: Mapping[str, Tensor], group: CoupledGroup) -> Tensor:
    """Return the Euclidean norm of all that leaves with each channel of a group, (decisions,)."""
    return torch.stack(list(_squares(values, group))).sum(dim=0).sqrt()


def _squares(values: Mapping[str, Tensor], group: CoupledGroup) -> Iterator[Tensor]:
    parts: Sequence[tuple[str, Members]] = [*group.filters.items(), *group.norms.items()]
    for layer, (indices, decisions) in parts:
        for name in (layer + WEIGHT, f"{layer}.bias"):
            if name in values:
                rows = values[name].flatten(1) if values[name].ndim > 1 else values[name][:, None]
                squares = rows.double().square().sum(dim=1)
                at = indices.to(squares.device)
                yield squares.new_zeros(group.decisions).index_add_(0, decisions.to(squares.device), squares[at])
