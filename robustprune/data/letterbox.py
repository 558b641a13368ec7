"""Geometry and colour between a picture and a detector's input: letterboxing, its inverse, and greyscale.

Nothing here reads files or knows of data sets.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor

PADDING = 0.5


class Letterbox(NamedTuple):
    """Where an image lies in its square; boxes are x1, y1, x2, y2 in pixels, shape (..., 4).

    Attributes:
        width: Of the image, in pixels.
        height: Of the image, in pixels.
        scale_x: Square pixels per image pixel, to the right.
        scale_y: Likewise, downwards; differs by the rounding of the resized image to whole pixels.
        left: Width of the padding on the left, in square pixels.
        top: Height of the padding above, in square pixels.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: int
    top: int

    def to_square(self, boxes: Tensor) -> Tensor:
        """Move boxes from the image to the square."""
        return boxes * boxes.new_tensor(self._scale) + boxes.new_tensor(self._offset)

    def to_image(self, boxes: Tensor) -> Tensor:
        """Move boxes from the square to the image and cut them at its edges; inverts `to_square`."""
        moved = (boxes - boxes.new_tensor(self._offset)) / boxes.new_tensor(self._scale)
        return moved.clamp(boxes.new_zeros(4), boxes.new_tensor([self.width, self.height] * 2))

    @property
    def _scale(self) -> list[float]:
        return [self.scale_x, self.scale_y] * 2

    @property
    def _offset(self) -> list[int]:
        return [self.left, self.top] * 2


def letterbox(image: Image.Image, size: int) -> tuple[Tensor, Letterbox]:
    """Resize an RGB image to fit a square, keeping its aspect, and pad it evenly with grey.

    Bilinear without antialiasing, as Darknet and OpenCV resize.

    Args:
        image: RGB.
        size: Side of the square in pixels.

    Returns:
        The square in [0, 1], float32, shape (3, size, size), and where the image lies in it.
    """
    width, height = image.size
    scale = size / max(width, height)
    inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - inner_width) // 2, (size - inner_height) // 2
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    resized = F.interpolate(pixels[None], (inner_height, inner_width), mode="bilinear", align_corners=False)[0]
    right, bottom = size - inner_width - left, size - inner_height - top
    square = F.pad(resized, (left, right, top, bottom), value=PADDING)
    return square, Letterbox(width, height, inner_width / width, inner_height / height, left, top)


def greyscale(images: Tensor) -> Tensor:
    """Return the Rec. 601 luma 0.299 R + 0.587 G + 0.114 B, copied to three channels; shape (..., 3, H, W).

    Source: ITU-R BT.601.
    """
    red, green, blue = images.unbind(-3)
    # Written about green, so that grey stays the same to the last bit.
    luma = green + 0.299 * (red - green) + 0.114 * (blue - green)
    return torch.stack([luma] * 3, dim=-3)
