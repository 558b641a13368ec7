"""What a detector is trained to lower: its loss on clean images, and on the same images under attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from robustprune.attacks import Attack
from robustprune.core.precision import Compute
from robustprune.detection.darknet import Detector, Head
from robustprune.detection.darknet.folding import fold
from robustprune.detection.losses.assignment import Assignment, assign


class Loss(Protocol):
    """A training loss of a detector; see `losses.ciou`."""

    def __call__(self, outputs: Sequence[Tensor], assignments: Sequence[Assignment], heads: Sequence[Head]) -> Tensor:
        """Return the scalar loss of a batch."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """loss(clean) + loss(attacked), or loss(clean) alone where `attack` is None."""

    loss: Loss
    attack: Attack | None = None
    compute: Compute = field(default_factory=Compute)

    def __call__(
        self, detector: Detector, images: Tensor, targets: Tensor, weights: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return the scalar objective of a batch.

        Args:
            detector: in the mode to train in; the attack sees it in eval mode whichever that is.
            images: (N, 3, S, S) in [0, 1].
            targets: (M, 6) as for `assign`.
            weights: parameters to use in place of the detector's own, by name.
        """
        weights = weights or {}
        images = images.contiguous(memory_format=self.compute.memory_format)
        assignments = assign(targets, detector.heads, images.shape[-1])
        if self.attack is None:
            return self.loss(self.compute.outputs(detector, weights, images), assignments, detector.heads)
        attacked = self.attacked(detector, images, assignments, weights)
        # One forward for both halves: batch norm sees the mixture it will be asked to serve.
        outputs = self.compute.outputs(detector, weights, torch.cat([images, attacked]))
        clean, adversarial = zip(*(output.chunk(2) for output in outputs), strict=True)
        return self.loss(clean, assignments, detector.heads) + self.loss(adversarial, assignments, detector.heads)

    def attacked(
        self,
        detector: Detector,
        images: Tensor,
        assignments: Sequence[Assignment],
        weights: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return `images` under the attack on this objective's own loss, the detector being in eval mode.

        Its weights are constants to the attack: backward passes compute gradients of the images alone, and the
        statistics of batch norm neither move nor mix the images of a batch.
        """
        assert self.attack is not None
        network, folded = fold(detector, weights)
        constant = self.compute.narrowed(folded)
        ascended = _Ascended(
            loss=self.loss,
            outputs=lambda x: self.compute.outputs(network, constant, x),
            assignments=assignments,
            heads=detector.heads,
        )
        return self.attack(ascended, images)


@dataclass(frozen=True, kw_only=True)
class _Ascended:
    """The loss of one batch as a function of its images; see `attacks.AttackLoss`."""

    loss: Loss
    outputs: Callable[[Tensor], Sequence[Tensor]]
    assignments: Sequence[Assignment]
    heads: Sequence[Head]

    def __call__(self, images: Tensor) -> Tensor:
        return self.loss(self.outputs(images), self.assignments, self.heads)

    @torch.no_grad()
    def per_image(self, images: Tensor) -> Tensor:
        outputs = self.outputs(images)
        return torch.stack(
            [
                self.loss(
                    [output[index : index + 1] for output in outputs],
                    [_of_image(positive, index) for positive in self.assignments],
                    self.heads,
                )
                for index in range(len(images))
            ]
        )


def _of_image(positive: Assignment, index: int) -> Assignment:
    """Return the part of an assignment that belongs to one image, as if that were the whole batch."""
    part = Assignment(*(column[positive.image == index] for column in positive))
    return part._replace(image=torch.zeros_like(part.image))
