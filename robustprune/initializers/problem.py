"""What an initializer is asked: score the weights of a detector, for this structure and ratio, on these images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustprune.core.lookup import lookup
from robustprune.core.progress import NOWHERE, Progress
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.couplings import Group
from robustprune.detection.data.samples import Samples
from robustprune.detection.objective import Objective
from robustprune.structures import STRUCTURES
from robustprune.structures.masks import Masks


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The setting in which weights are scored.

    `structure` and `ratio` are None for an initializer that does not look at them; its scores then serve them all.
    `progress` is for one that takes epochs.
    """

    samples: Samples
    objective: Objective
    generator: torch.Generator
    structure: str | None = None
    ratio: float | None = None
    prune_heads: bool = False
    progress: Progress = NOWHERE

    def layers(self, detector: Detector) -> dict[str, nn.Conv2d]:
        """Return the layers to score, by name."""
        return detector.prunable_layers(heads=self.prune_heads)

    def masks(self, importance: Mapping[str, Tensor], groups: Sequence[Group]) -> Masks:
        """Return the masks that `structure` draws at `ratio`; `groups` are the couplings of the layers scored."""
        assert self.structure is not None
        assert self.ratio is not None
        return lookup(STRUCTURES, self.structure, kind="structure")(importance, self.ratio, groups)
