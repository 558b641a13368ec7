"""Detectors with anchors, Darknet's among them: heads of several scales, and the anchors that answer for objects."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor

from robustprune.detection.anchors.heads import Head, decode_head
from robustprune.detection.detector import Candidates, Detector
from robustprune.detection.image_size import ImageSize
from robustprune.detection.losses import ANCHORS, LOSSES
from robustprune.detection.losses.assignment import Assignment, assign
from robustprune.task import Explained


class AnchorDetector(Detector):
    """A detector of one stage: heads of several scales, each with anchors in every cell of a grid.

    A network of another architecture derives from this class, and fills in `heads`, `head_layers` and `forward`.
    """

    family = ANCHORS
    loss_name: str = "ciou"

    @property
    def heads(self) -> tuple[Head, ...]:
        """The scales, in the order of `forward`'s outputs."""
        raise NotImplementedError

    @property
    def head_layers(self) -> frozenset[str]:
        """Names of the layers that give the raw outputs."""
        raise NotImplementedError

    @property
    def cell(self) -> int:
        """Side of a cell of the finest grid, in pixels."""
        return min(head.stride for head in self.heads)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw outputs (before any sigmoid or exp), one per head.

        Shape:
            - images: (N, channels, H, W) in [0, 1], H and W divisible by `stride`
            - returns: (N, anchors, grid_h, grid_w, 5 + classes) each; x, y, w, h, objectness, classes
        """
        raise NotImplementedError

    def targets(self, objects: Tensor, image_size: ImageSize, *, images: int) -> list[Assignment]:
        """Return the anchors that answer for objects, of each head."""
        return assign(objects, self.heads, image_size)

    def loss(self, outputs: Sequence[Tensor], targets: Sequence[Assignment], *, per_image: bool = False) -> Tensor:
        """Return the loss of a batch, or of each of its images: one by one, where the loss knows batches alone."""
        loss, heads = LOSSES[self.loss_name].provides, self.heads
        found: Tensor
        if not per_image:
            found = loss(outputs, targets, heads)
        elif "per_image" in inspect.signature(loss).parameters:
            found = loss(outputs, targets, heads, per_image=True)
        else:
            found = torch.stack(
                [
                    loss(
                        [output[index : index + 1] for output in outputs],
                        [positive.of_image(index) for positive in targets],
                        heads,
                    )
                    for index in range(len(outputs[0]))
                ]
            )
        return found

    def decode(self, outputs: Sequence[Tensor], image_size: ImageSize) -> Tensor:
        """Boxes of all scales from `forward`'s outputs.

        Shape:
            - image_size: side of the square images given to `forward`, or their (height, width), in pixels
            - returns: (N, boxes, 5 + classes); cx, cy, w, h in pixels of the network input, objectness and
              class probabilities; ordered by scale, anchor, row, column
        """
        boxes = [
            decode_head(output, head, image_size).flatten(1, 3)
            for output, head in zip(outputs, self.heads, strict=True)
        ]
        return torch.cat(boxes, dim=1)

    def candidates(self, outputs: Sequence[Tensor], image_size: ImageSize) -> list[Candidates]:
        """Return the boxes of each head with their classes' raw logits."""
        found = []
        for output, head in zip(outputs, self.heads, strict=True):
            decoded = decode_head(output[..., :5], head, image_size).flatten(1, 3)
            found.append(Candidates(decoded[..., :4], decoded[..., 4], output[..., 5:].flatten(1, 3)))
        return found

    def explained(self) -> Explained:
        """Return the logits of the anchors that objects are assigned to.

        Raises:
            InputError: the detector has an activation without a Rescale rule, or multiplies layers.
        """
        from robustprune.detection.anchors.explained import assigned_logits, explainable  # it knows Darknet's layers

        return Explained(explainable(self), assigned_logits)
