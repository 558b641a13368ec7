"""How one image of the data set `shapes` is drawn: categories, colours, anti-aliased coverage, placement.

Pure computation from a random generator; what is written to disk, and where, is in `shapes`. Images of one object are
drawn for `classification.data.emblems` too.

Coordinates are pixels from the image's top left corner; pixel (0, 0) covers [0, 1] in both directions.
Colours are RGB in [0, 1].
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

OBJECTS = (1, 4)
SIZE = (0.22, 0.55)  # an object's length before it is rotated, as a part of the image's side
LUMA = (0.40, 0.60)  # of every object, whatever its category
CHROMA = 0.16  # radius in the (Cb, Cr) plane: about half saturation
DARK, BRIGHT = (0.05, 0.20), (0.80, 0.95)  # luma of the background
TEXTURE = 0.06  # standard deviation of the background's luma within an image
MAX_OVERLAP = 0.3  # of the smaller object's area
PLACEMENTS = 20  # attempts to find room for an object before it is left out


class Category(NamedTuple):
    """A kind of object.

    Attributes:
        shape: from coordinates in half lengths along the object's axes, and its width as a part of its length, to
            distances in half lengths, negative inside.
        hues: the interval of its hue angle, in degrees.
    """

    id: int
    name: str
    shape: Callable[[Array, Array, float], Array]
    hues: tuple[float, float]
    rotation: float  # degrees, to either side


class DrawnObject(NamedTuple):
    """An object of an image: its box (x, y, width, height) and area in pixels, hidden parts included."""

    category: Category
    box: tuple[float, float, float, float]
    area: float
    luma: float


def ellipse(u: Array, v: Array, aspect: float) -> Array:
    """Return the distance to the outline of an ellipse, negative inside; see `Category`."""
    # First-order distance f / |grad f| to a curve f = 0: right at the outline, where anti-aliasing looks.
    radius = np.hypot(u, v / aspect)
    distance: Array = radius * (radius - 1) / np.maximum(np.hypot(u, v / aspect**2), 1e-9)
    return distance


def rectangle(u: Array, v: Array, aspect: float) -> Array:
    """Return the distance to the outline of a rectangle, negative inside; see `Category`."""
    distance: Array = np.maximum(np.abs(u) - 1, np.abs(v) - aspect)
    return distance


def triangle(u: Array, v: Array, aspect: float) -> Array:
    """Return the distance to the outline of an isosceles triangle, negative inside; see `Category`."""
    # Apex (0, -1), feet (±aspect, 1).
    side = (2 * np.abs(u) - aspect * (v + 1)) / math.hypot(2, aspect)
    return np.maximum(side, v - 1)


def cross(u: Array, v: Array, aspect: float) -> Array:
    """Return the distance to the outline of an upright cross, negative inside; see `Category`."""
    arm = 0.45 * aspect
    return np.minimum(rectangle(u, v, arm), rectangle(v, u, arm))


# The ids have gaps, as COCO's have. Pairs that share a shape differ in hue alone: greyscale cannot part them.
CATEGORIES = (
    Category(1, "lemon", ellipse, (150, 170), 90),
    Category(2, "lime", ellipse, (225, 245), 90),
    Category(3, "brick", rectangle, (95, 115), 15),
    Category(5, "moss", rectangle, (225, 245), 15),
    Category(8, "tent", triangle, (0, 360), 15),
    Category(13, "cross", cross, (0, 360), 15),
)


def colour(luma: float, hue: float, chroma: float = CHROMA) -> Array:
    """Return the RGB colour of a Rec. 601 `luma`, which is exact whatever the hue and chroma.

    Hues are angles in degrees: 0 is blue, 109 red, 171 yellow, 232 green.

    Source: ITU-R BT.601, inverse of the full-range YCbCr transform.
    """
    blue = 1.772 * chroma * math.cos(math.radians(hue))
    red = 1.402 * chroma * math.sin(math.radians(hue))
    green = -(0.299 * red + 0.114 * blue) / 0.587
    return luma + np.array([red, green, blue])


def draw(rng: np.random.Generator, size: int) -> tuple[Array, list[DrawnObject]]:
    """Draw one image.

    Returns:
        The image in [0, 1], shape (size, size, 3), and its objects, at least one, the nearest last.
    """
    image = _background(rng, size)
    masks: list[Array] = []
    objects: list[DrawnObject] = []
    for _ in range(rng.integers(OBJECTS[0], OBJECTS[1], endpoint=True)):
        category = CATEGORIES[rng.integers(len(CATEGORIES))]
        mask = _place(rng, category, masks, size, SIZE)
        if mask is None:
            continue
        luma = _paint(rng, image, category, mask)
        left, right = _extent(mask.max(axis=0))
        top, bottom = _extent(mask.max(axis=1))
        box = (left, top, right - left, bottom - top)
        objects.append(DrawnObject(category, box, float(mask.sum()), luma))
        masks.append(mask)
    return image, objects


def draw_one(rng: np.random.Generator, category: Category, size: int, *, lengths: tuple[float, float]) -> Array:
    """Draw one image of one object.

    Args:
        rng: source of all that is random.
        category: the object's.
        size: side of the image in pixels.
        lengths: interval of the object's length before it is rotated, as a part of the image's side.

    Returns:
        The image in [0, 1], shape (size, size, 3).
    """
    image = _background(rng, size)
    mask = _place(rng, category, [], size, lengths)
    assert mask is not None
    _paint(rng, image, category, mask)
    return image


def _paint(rng: np.random.Generator, image: Array, category: Category, mask: Array) -> float:
    """Colour the part of the image that an object covers, and return the object's luma."""
    luma = rng.uniform(*LUMA)
    image += mask[..., None] * (colour(luma, rng.uniform(*category.hues)) - image)
    return luma


def _background(rng: np.random.Generator, size: int) -> Array:
    image = np.empty((size, size, 3))
    luma = rng.uniform(*(DARK, BRIGHT)[rng.integers(2)])
    image[:] = colour(luma, rng.uniform(0, 360), chroma=rng.uniform(0, 0.05))
    image += _texture(rng, size)[..., None]
    np.clip(image, 0, 1, out=image)
    for _ in range(rng.integers(2, 5, endpoint=True)):
        stroke = colour(rng.uniform(0.1, 0.9), rng.uniform(0, 360), chroma=0.05)
        mask = _coverage(
            rectangle,
            size,
            centre=rng.uniform(0, size, 2),
            length=rng.uniform(0.4, 1.4) * size,
            aspect=rng.uniform(0.012, 0.03),
            rotation=rng.uniform(0, 180),
        )
        image += mask[..., None] * (stroke - image)
    return image


def _texture(rng: np.random.Generator, size: int) -> Array:
    # Noise whose amplitude falls as 1 / frequency, as in photographs.
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) / frequency, s=(size, size))
    texture: Array = noise * (TEXTURE / noise.std())
    return texture


def _place(
    rng: np.random.Generator, category: Category, others: list[Array], size: int, lengths: tuple[float, float]
) -> Array | None:
    for _ in range(PLACEMENTS):
        length = rng.uniform(*lengths) * size
        mask = _coverage(
            category.shape,
            size,
            centre=rng.uniform(length / 2, size - length / 2, 2),
            length=length,
            aspect=rng.uniform(0.6, 1.0),
            # A quarter turn more or less makes a shape as often tall as wide; a tent also lies on its side.
            rotation=rng.uniform(-category.rotation, category.rotation) + 90 * rng.integers(2),
        )
        if all(np.minimum(mask, other).sum() <= MAX_OVERLAP * min(mask.sum(), other.sum()) for other in others):
            return mask
    return None


def _coverage(
    shape: Callable[[Array, Array, float], Array],
    size: int,
    *,
    centre: Array,
    length: float,
    aspect: float,
    rotation: float,
) -> Array:
    """Return the part of each pixel that the shape covers, in [0, 1], shape (size, size)."""
    x = np.arange(size)[None, :] + 0.5 - centre[0]
    y = np.arange(size)[:, None] + 0.5 - centre[1]
    cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    u, v = x * cosine + y * sine, y * cosine - x * sine
    distance = shape(u / (length / 2), v / (length / 2), aspect) * (length / 2)
    return np.clip(0.5 - distance, 0, 1)


def _extent(coverage: Array) -> tuple[float, float]:
    # The outermost pixels count by the part of them that is covered.
    covered = np.flatnonzero(coverage)
    first, last = covered[0], covered[-1]
    return float(first + 1 - coverage[first]), float(last + coverage[last])
