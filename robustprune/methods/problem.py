"""What a method is asked: score the weights of a network of this task, for this structure, scope and ratio."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robustprune.core.progress import NOWHERE, Progress
from robustprune.structures import STRUCTURES, CoupledGroup, Layer, Masks, Ratios, draw_masks
from robustprune.structures.groups import decided_layers
from robustprune.task import Task
from robustprune.training.objective import Objective


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The setting in which weights are scored.

    Attributes:
        task: what the network has learnt.
        objective: what it was trained to lower.
        generator: on the CPU; the only source of randomness.
        structure: what will be pruned together; None for a method that does not look at it: its scores serve them all.
        scope: likewise, for a method that looks at ratios.
        ratio: likewise.
        ratios: of layers that have their own, likewise.
        comparable: see `InitializerEntry`.
        progress: for a method that takes epochs.
    """

    task: Task
    objective: Objective
    generator: torch.Generator
    structure: str | None = None
    scope: str = "layer"
    ratio: float | None = None
    ratios: Ratios = field(default_factory=dict)
    comparable: bool = False
    progress: Progress = NOWHERE

    @property
    def is_coupled(self) -> bool:
        """Whether whole channels will be pruned."""
        return self.structure is not None and STRUCTURES[self.structure].coupled

    def groups(self, network: nn.Module) -> list[CoupledGroup]:
        """Return the channels that come and go together, where whole channels will be pruned; else none.

        The network's parameters may come out requiring gradients.
        """
        return self.task.coupled_groups(network) if self.is_coupled else []

    def layers(self, network: nn.Module, groups: Sequence[CoupledGroup] | None = None) -> dict[str, Layer]:
        """Return the layers to score, by name: where whole channels will be pruned, those that are decided on.

        Args:
            network: to score; left as it is.
            groups: of the network, where they are at hand already.
        """
        if not self.is_coupled:
            return self.task.prunable_layers(network)
        # Of a copy: to find them may change which parameters need gradients.
        return decided_layers(network, self.groups(copy.deepcopy(network)) if groups is None else groups)

    def masks(self, importance: Mapping[str, Tensor], groups: Sequence[CoupledGroup]) -> Masks:
        """Return the masks that would be drawn from some scores, of all the layers."""
        assert self.structure is not None
        assert self.ratio is not None
        return draw_masks(
            self.structure,
            importance,
            self.ratio,
            groups=groups,
            scope=self.scope,
            comparable=self.comparable,
            ratios=self.ratios,
        )
