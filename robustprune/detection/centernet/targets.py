"""What a CenterNet should have answered: built once per batch, reused by every attack step and by DeepLIFT."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

CELL = 4
"""Side of a cell of the heat map, in pixels of the network's input."""

Radius = Callable[[Tensor, Tensor], Tensor]
"""From heights and widths of boxes in cells to radii."""


class Targets(NamedTuple):
    """The heat map wanted, and what is read at the centres of P objects.

    Shape:
        heat: (N, classes, rows, columns) in [0, 1], exactly 1 at centres.
        image, row, column, classes: (P,) int64, the cell that holds an object's centre.
        offset: (P, 2), the centre less that cell's upper left corner, x and y in cells.
        size: (P, 2), width and height in cells.
    """

    heat: Tensor
    image: Tensor
    row: Tensor
    column: Tensor
    classes: Tensor
    offset: Tensor
    size: Tensor


def encode(objects: Tensor, *, images: int, classes: int, rows: int, columns: int, radius: Radius) -> Targets:
    """Return what outputs should have been for the objects of a batch.

    Of a class, the heat map is exp(−d² / 2σ²) around a centre's cell, with σ = (2r + 1) / 6 for the radius r in whole
    cells, and the largest of these where objects meet. (The published code draws none of it further than r from the
    centre, where it is .011 at most.) A centre on the image's right or lower edge is of the last cell; an object
    without extent has no centre, as there.

    Args:
        objects: (M, 6) image index, class, centre x, centre y, width, height; box units are the input's sides.
        images: how many there are.
        classes: how many there are.
        rows: of the heat map.
        columns: likewise.
        radius: how wide a Gaussian is.
    """
    boxes = objects[:, 2:] * objects.new_tensor([columns, rows] * 2)
    there = (boxes[:, 2:] > 0).all(dim=1)
    boxes, image, of_class = boxes[there], objects[there, 0].long(), objects[there, 1].long()
    column = boxes[:, 0].long().clamp_(0, columns - 1)
    row = boxes[:, 1].long().clamp_(0, rows - 1)
    whole = radius(boxes[:, 3].ceil(), boxes[:, 2].ceil()).floor()
    sigma = (2 * whole + 1) / 6
    across = (torch.arange(columns, device=objects.device) - column[:, None]).to(boxes)
    down = (torch.arange(rows, device=objects.device) - row[:, None]).to(boxes)
    distance = across.square()[:, None, :] + down.square()[:, :, None]
    gaussian = (-distance / (2 * sigma.square())[:, None, None]).exp().flatten(1)
    heat = boxes.new_zeros(images * classes, rows * columns)
    place = (image * classes + of_class)[:, None].expand_as(gaussian)
    heat = heat.scatter_reduce(0, place, gaussian, "amax")
    return Targets(
        heat=heat.view(images, classes, rows, columns),
        image=image,
        row=row,
        column=column,
        classes=of_class,
        offset=boxes[:, :2] - torch.stack([column, row], dim=1),
        size=boxes[:, 2:],
    )
