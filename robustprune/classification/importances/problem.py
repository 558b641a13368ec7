"""What is asked of an importance: score the weights of a classifier, for this scope and sparsity, on these images."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from robustprune.classification.data.images import LabelledImages
from robustprune.classification.objective import Objective
from robustprune.core.progress import NOWHERE, Progress


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The setting in which weights are scored.

    `scope` and `sparsity` are None for an importance that does not look at them; its scores then serve them all.
    `progress` is for one that takes epochs.
    """

    images: LabelledImages
    objective: Objective
    generator: torch.Generator
    scope: str | None = None
    sparsity: float | None = None
    progress: Progress = NOWHERE

    @property
    def image_size(self) -> int:
        """The side of an image in pixels."""
        return self.images.pixels.shape[-1]
