"""The embedded data set `emblems`, generated in memory: one object on each image, its class told by shape and hue.

Each class has a shape, and a sixth of the hues with some of either neighbour's: hue suggests a class and shape decides.
Ellipses are as far from one another in hue as can be, and so are rectangles. Colours are at half saturation, so that a
classifier without defence is fooled by little. How an image is drawn is in `data.shapes_drawing`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from robustprune.classification.data.images import LabelledImages
from robustprune.core.images.drawing import Category, cross, draw_one, ellipse, rectangle, triangle

VERSION = 1  # raised by hand whenever the same settings give other pixels
LENGTHS = (0.5, 0.9)  # an object's length before it is rotated, as a part of the image's side
CATEGORIES = tuple(
    Category(index, name, shape, (hue - 33, hue + 33), rotation)
    for index, (name, shape, hue, rotation) in enumerate(
        [
            ("lemon", ellipse, 170, 90),
            ("plum", ellipse, 350, 90),
            ("brick", rectangle, 110, 15),
            ("pool", rectangle, 290, 15),
            ("tent", triangle, 230, 15),
            ("cross", cross, 50, 15),
        ]
    )
)
CLASSES = tuple(category.name for category in CATEGORIES)
_SPLITS = ("train", "test")


def generate(*, seed: int, split: Literal["train", "test"], images: int, image_size: int) -> LabelledImages:
    """Return the images of a split, the classes in turn: of each as many, or one less.

    An image depends on `seed`, `split`, its index and `image_size` alone: more images never change earlier ones.

    Args:
        seed: at least 0.
        split: the two share no image.
        images: how many, at least 1.
        image_size: side of the images in pixels.
    """
    pixels = np.empty((images, image_size, image_size, 3), dtype=np.uint8)
    labels = np.arange(images) % len(CLASSES)
    for index, label in enumerate(labels):
        rng = np.random.default_rng([seed, _SPLITS.index(split), index])
        pixels[index] = np.rint(draw_one(rng, CATEGORIES[label], image_size, lengths=LENGTHS) * 255)
    return LabelledImages(
        pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
        labels=torch.from_numpy(labels),
        classes=CLASSES,
    )
