"""How images and their objects are changed at random in training, beyond being mirrored: windows of them, and colours.

As CenterNet is trained (Zhou et al. 2019, `CTDetDataset` and `color_aug`), but for the noise along principal components
of colours, which would tint greyscale images.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from robustprune.core.settings import Settings
from robustprune.detection.data.letterbox import PADDING

LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue (Rec. 601)."""


class Augmentation(Settings):
    """Images of every training are changed so; CenterNet's are with window [0.6, 1.4], shift 0.4 and colour 0.4."""

    window: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(
        default=[1.0, 1.0],
        description="sides of the window that is taken of an image and brought to its size, as parts of the image's: "
        "drawn between these two; over 1, grey is around the image",
    )
    shift: float = Field(
        default=0.0, ge=0, le=0.5, description="the most that the window's middle is off the image's, as part of a side"
    )
    colour: float = Field(
        default=0.0, ge=0, lt=1, description="brightness, contrast and saturation are multiplied by 1 ± so much at most"
    )

    @field_validator("window")
    @classmethod
    def _is_a_range(cls, window: list[float]) -> list[float]:
        if not 0.1 <= window[0] <= window[1] <= 10:
            raise ValueError(f"found {window}, expected two numbers of [0.1, 10], the smaller first")
        return window


def augmented(
    images: Tensor, objects: Tensor, settings: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return images in other windows and colours, each in its own, and the objects of which at least a pixel is left.

    Args:
        images: (N, C, H, W) in [0, 1].
        objects: (M, 6) image index, class, centre x, centre y, width, height; box units are the image's sides.
        settings: how much they are changed.
        generator: on the CPU; as many numbers are drawn for any settings.
    """
    drawn = torch.rand(len(images), 6, generator=generator).to(images)
    low, high = settings.window
    sides = low + (high - low) * drawn[:, 0]
    middles = 0.5 + settings.shift * (2 * drawn[:, 1:3] - 1)
    factors = 1 + settings.colour * (2 * drawn[:, 3:] - 1)
    if (low, high) != (1, 1) or settings.shift:
        images = windows(images, sides, middles)
        objects = within(objects, sides, middles, size=(images.shape[-2], images.shape[-1]))
    if settings.colour:
        images = coloured(images, factors)
    return images, objects


def windows(images: Tensor, sides: Tensor, middles: Tensor) -> Tensor:
    """Return a window of each image, bilinearly brought to the image's size, grey where there is no image.

    Args:
        images: (N, C, H, W).
        sides: of the windows, as part of the images' sides, (N,).
        middles: of the windows, x and y in units of the images' sides, (N, 2).
    """
    turned = images.new_zeros(len(images), 2, 3)
    turned[:, 0, 0] = turned[:, 1, 1] = sides
    turned[:, :, 2] = 2 * middles - 1
    grid = affine_grid(turned, list(images.shape), align_corners=False)
    return grid_sample(images - PADDING, grid, padding_mode="zeros", align_corners=False) + PADDING


def within(objects: Tensor, sides: Tensor, middles: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Return what `windows` leaves of objects, in units of the windows' sides: those of which a pixel is left.

    Args:
        objects: as in `augmented`.
        sides: as in `windows`.
        middles: likewise.
        size: height and width of the images in pixels.
    """
    image = objects[:, 0].long()
    centres, halves = objects[:, 2:4], objects[:, 4:] / 2
    corners = torch.cat([centres - halves, centres + halves], dim=1)
    corners = ((corners - middles[image].repeat(1, 2)) / sides[image, None] + 0.5).clamp(0, 1)
    first, last = corners[:, :2], corners[:, 2:]
    pixel = objects.new_tensor([1 / size[1], 1 / size[0]])
    # What was smaller before stays: pictures are not lost for it.
    left = (last - first >= torch.minimum(pixel, objects[:, 4:])).all(dim=1)
    return torch.cat([objects[:, :2], (first + last) / 2, last - first], dim=1)[left]


def coloured(images: Tensor, factors: Tensor) -> Tensor:
    """Return images with other brightness, contrast and saturation, cut to [0, 1].

    Contrast is about the mean luma of an image, saturation about that of each pixel.

    Args:
        images: (N, C, H, W), of three channels or of luma alone.
        factors: of these three, (N, 3).
    """
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(dim=1)
    changed = images * brightness
    mean = _luma(changed).mean(dim=(2, 3), keepdim=True)
    changed = mean + contrast * (changed - mean)
    luma = _luma(changed)
    return (luma + saturation * (changed - luma)).clamp(0, 1)


def _luma(images: Tensor) -> Tensor:
    """Return (N, 1, H, W)."""
    if images.shape[1] != len(LUMA):
        return images.mean(dim=1, keepdim=True)
    return (images * images.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)


def inputs(settings: Augmentation | None) -> dict[str, Any]:
    """Return what it adds to what determines a training; nothing where images are mirrored alone."""
    return {} if settings is None else {"augmentation": settings.model_dump(mode="json")}
