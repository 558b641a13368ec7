"""Which anchors answer for which objects: built once per batch, reused by every attack step and by DeepLIFT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from robustprune.detection.anchors.heads import Head
from robustprune.detection.image_size import ImageSize, sides

MAX_SIDE_RATIO = 4.0


class Assignment(NamedTuple):
    """The positive anchors of one head; P of them.

    Shape:
        image, anchor, row, column, classes: (P,) int64, indices into the head's output.
        boxes: (P, 4) centre x, centre y, width, height in grid cells of the head.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    classes: Tensor
    boxes: Tensor

    def of_image(self, index: int) -> Assignment:
        """Return the part that belongs to one image, as if that were the whole batch."""
        part = Assignment(*(column[self.image == index] for column in self))
        return part._replace(image=torch.zeros_like(part.image))


def assign(targets: Tensor, heads: Sequence[Head], image_size: ImageSize) -> list[Assignment]:
    """Assign every object to the anchors of each head whose sides differ from its own by less than 4 ×.

    The cell that holds the object's centre answers for it, in each head by itself.

    Args:
        targets: (M, 6) image index, class, centre x, centre y, width, height; box units are the input's sides.
        heads: the detector's heads.
        image_size: of the input.
    """
    height, width = sides(image_size)
    assignments = []
    for head in heads:
        rows, columns = height // head.stride, width // head.stride
        anchors = head.anchors / head.stride
        boxes = targets[:, 2:] * targets.new_tensor([columns, rows] * 2)
        ratio = boxes[None, :, 2:] / anchors[:, None, :]
        positive = torch.maximum(ratio, 1 / ratio).amax(dim=-1) < MAX_SIDE_RATIO
        anchor, target = positive.nonzero(as_tuple=True)
        chosen = boxes[target]
        column, row = chosen[:, 0].long().clamp_(0, columns - 1), chosen[:, 1].long().clamp_(0, rows - 1)
        assignments.append(
            Assignment(
                image=targets[target, 0].long(),
                anchor=anchor,
                row=row,
                column=column,
                classes=targets[target, 1].long(),
                boxes=chosen,
            )
        )
    return assignments
