"""What a detection head's raw numbers mean: anchors, and boxes in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustprune.detection.image_size import ImageSize, sides

MAX_SIZE_LOGIT = 6.0
"""Width and height logits are cut here before `exp`, so that a step too far in training cannot overflow.

exp(6) = 403 anchors: with the smallest anchors in use (4 pixels) a box still spans 1,600 pixels, more than
any network input, so what is left of a real detector's box inside the image is the same."""


@dataclass(frozen=True, eq=False)
class Head:
    """One scale of a detector.

    `anchors` (A, 2) are widths and heights in pixels of the network input, on the detector's device; `stride`
    is the side of a grid cell in those pixels. `softmax`: a box is of one class alone, not of each by itself.
    """

    anchors: Tensor
    stride: int
    classes: int
    scale_x_y: float
    ignore_thresh: float
    softmax: bool = False


def decode_head(output: Tensor, head: Head, image_size: ImageSize) -> Tensor:
    """Boxes and scores of one scale.

    With s = `scale_x_y`: centre = (sigmoid(t) * s - (s - 1) / 2 + cell) / grid * image,
    size = anchor * exp(t), and sigmoid on objectness and classes (Redmon and Farhadi, YOLOv3, section 2.1;
    s from Bochkovskiy et al., YOLOv4, section 3.4); with `softmax`, as in YOLOv2, that over classes.

    Shape:
        - output: (N, A, grid_h, grid_w, 5 + classes), raw
        - image_size: side of a square network input, or (height, width), in pixels
        - returns: the same shape; cx, cy, w, h in pixels of the network input, then probabilities
    """
    height, width = sides(image_size)
    grid_h, grid_w = output.shape[2:4]
    place, size, scores = output[..., :2], output[..., 2:4], output[..., 4:]
    rows = torch.arange(grid_h, device=output.device, dtype=output.dtype)
    columns = torch.arange(grid_w, device=output.device, dtype=output.dtype)
    pixels_per_cell = output.new_tensor([width / grid_w, height / grid_h])
    offset = place.sigmoid() * head.scale_x_y - (head.scale_x_y - 1) / 2
    # Each by itself: a map of both would be part of every exported program.
    centre = torch.stack([offset[..., 0] + columns, offset[..., 1] + rows[:, None]], dim=-1) * pixels_per_cell
    extent = head.anchors[:, None, None] * size.clamp(max=MAX_SIZE_LOGIT).exp()
    if head.softmax:
        return torch.cat([centre, extent, scores[..., :1].sigmoid(), scores[..., 1:].softmax(dim=-1)], dim=-1)
    return torch.cat([centre, extent, scores.sigmoid()], dim=-1)
