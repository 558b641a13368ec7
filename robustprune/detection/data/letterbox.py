"""Geometry and colour between a picture and a detector's input: letterboxing, stretching, their inverse, and greyscale.

Nothing here reads files or knows of data sets.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from robustprune.detection.image_size import ImageSize, sides

Fit = Literal["letterbox", "stretch"]
"""How a picture meets the network: its aspect kept and grey around it, or pulled to the network's own sides."""

Pixels = NDArray[np.uint8]
"""RGB, shape (H, W, 3)."""

PADDING = 0.5


class Letterbox(NamedTuple):
    """Where an image lies in its square, or oblong; boxes are x1, y1, x2, y2 in pixels, shape (..., 4).

    An image that is stretched lies in it from edge to edge.

    Attributes:
        width: Of the image, in pixels.
        height: Of the image, in pixels.
        scale_x: Square pixels per image pixel, to the right.
        scale_y: Likewise, downwards; if letterboxed, it differs by the rounding of the resized image to whole pixels.
        left: Width of the padding on the left, in square pixels.
        top: Height of the padding above, in square pixels.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: int
    top: int

    @property
    def inner(self) -> tuple[float, float]:
        """Height and width of the image in its square, in square pixels: whole numbers, but for rounding."""
        return self.height * self.scale_y, self.width * self.scale_x

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


def letterbox(image: Image.Image, size: ImageSize) -> tuple[Tensor, Letterbox]:
    """Resize an RGB image to fit a square, keeping its aspect, and pad it evenly with grey.

    The steps, `place`, `resize` and `paint`, are there for who keeps resized images.

    Args:
        image: RGB.
        size: Of the square in pixels.

    Returns:
        The square in [0, 1], float32, shape (3, H, W), and where the image lies in it.
    """
    placement = place(*image.size, size)
    square = np.empty((*sides(size), 3), dtype=np.float32)
    paint(square, resize(image, placement), placement)
    return torch.from_numpy(square).permute(2, 0, 1), placement


def place(width: int, height: int, size: ImageSize, fit: Fit = "letterbox") -> Letterbox:
    """Return where an image of `width` x `height` pixels lies in a square, or oblong, of `size`."""
    outer_height, outer_width = sides(size)
    if fit == "stretch":
        return Letterbox(width, height, outer_width / width, outer_height / height, 0, 0)
    scale = min(outer_width / width, outer_height / height)
    inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (outer_width - inner_width) // 2, (outer_height - inner_height) // 2
    return Letterbox(width, height, inner_width / width, inner_height / height, left, top)


def resize(image: Image.Image, placement: Letterbox) -> Pixels:
    """Return an RGB image as large as it is in its square, 8 bits per colour.

    Bilinear without antialiasing, as Darknet and OpenCV resize, in whole numbers: off by one step of 255 at most, in
    a quarter of the time and memory of floating point.
    """
    # In torch's own strides of a batch of one, which are not numpy's: else it answers with planes of colours, and to
    # paint from these takes five times as long.
    pixels = torch.from_numpy(np.array(image)).unsqueeze(0).permute(0, 3, 1, 2)
    height, width = placement.inner
    inner_size = round(height), round(width)
    resized = F.interpolate(pixels, inner_size, mode="bilinear", align_corners=False)
    inner: Pixels = resized[0].permute(1, 2, 0).numpy()
    return inner


def paint(square: NDArray[np.float32], pixels: Pixels, placement: Letterbox) -> None:
    """Fill `square`, shape (H, W, 3), with what `resize` returned and the padding around it."""
    left, top = placement.left, placement.top
    right, bottom = left + pixels.shape[1], top + pixels.shape[0]
    for padding in (square[:top], square[bottom:], square[top:bottom, :left], square[top:bottom, right:]):
        padding.fill(PADDING)
    np.divide(pixels, np.float32(255), out=square[top:bottom, left:right])


def greyscale(images: Tensor) -> Tensor:
    """Return the Rec. 601 luma 0.299 R + 0.587 G + 0.114 B, copied to three channels; shape (..., 3, H, W).

    Source: ITU-R BT.601.
    """
    red, green, blue = images.unbind(-3)
    # Written about green, so that grey stays the same to the last bit.
    luma = green + 0.299 * (red - green) + 0.114 * (blue - green)
    return torch.stack([luma] * 3, dim=-3)
