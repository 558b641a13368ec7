"""How one street scene is drawn: a camera in a street, what stands and drives there, and what of it can be seen.

Pure computation from a random generator; files are written in `streets`. The camera is KITTI's in small: pictures are
as wide in degrees, the horizon is as high, and so an object is as large, as a part of the picture, as it is there.

Metres: x to the right of the camera, y down from it, z ahead. Pixels from the picture's top left corner.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustprune.core.images.drawing import colour

Array = NDArray[np.float64]

FOCAL, HORIZON = 0.58, 0.46  # as parts of the picture's width and height
CAMERA_HEIGHT = 1.65
ROAD = (-8.0, 4.8)
LANES = {"own": 0.0, "oncoming": -3.2, "left": -6.6, "right": 3.4}
PARKED = ("left", "right")
NEAREST, FARTHEST = 4.5, 75.0
UNLABELLED = 52.0
"""Metres from which on nobody has looked: what stands there is in regions marked DontCare."""

VISIBLE = (0.85, 0.5, 0.15)
"""The parts of an object from which on it counts as visible, partly and largely occluded."""

LEAST_INSIDE = 0.06
"""The part of an object that must be in the picture; of a smaller one nobody would say what it is."""


class Kind(NamedTuple):
    """A kind of object: its KITTI type, and its height, width and length in metres, each an interval."""

    type: str
    height: tuple[float, float]
    width: tuple[float, float]
    length: tuple[float, float]


CAR = Kind("Car", (1.4, 1.65), (1.6, 1.8), (3.6, 4.4))
VAN = Kind("Van", (2.0, 2.4), (1.8, 2.0), (4.8, 5.6))
PEDESTRIAN = Kind("Pedestrian", (1.6, 1.9), (0.5, 0.75), (0.5, 0.9))
CYCLIST = Kind("Cyclist", (1.65, 1.85), (0.55, 0.75), (1.6, 1.8))


class Part(NamedTuple):
    """A rectangle of an object: its edges as parts of the object's box, from the left and from the top; its colour."""

    left: float
    top: float
    right: float
    bottom: float
    paint: str


_GLASS, _RUBBER, _LAMP, _SKIN = (0.22, 0.0, 0.0), (0.08, 0.0, 0.0), (0.4, 100.0, 0.2), (0.6, 130.0, 0.06)
_FIXED = {"glass": _GLASS, "rubber": _RUBBER, "lamp": _LAMP, "skin": _SKIN}

_VEHICLE = (
    Part(0.02, 0.84, 0.2, 1, "rubber"),
    Part(0.8, 0.84, 0.98, 1, "rubber"),
    Part(0, 0.42, 1, 0.9, "own"),
    Part(0.1, 0, 0.9, 0.45, "own"),
    Part(0.18, 0.1, 0.82, 0.4, "glass"),
    Part(0.03, 0.5, 0.2, 0.62, "lamp"),
    Part(0.8, 0.5, 0.97, 0.62, "lamp"),
)
_SIDE = (
    Part(0.12, 0.7, 0.3, 1, "rubber"),
    Part(0.7, 0.7, 0.88, 1, "rubber"),
    Part(0, 0.45, 1, 0.85, "own"),
    Part(0.2, 0, 0.8, 0.47, "own"),
    Part(0.25, 0.1, 0.75, 0.42, "glass"),
)
_PERSON = (
    Part(0.32, 0, 0.68, 0.16, "skin"),
    Part(0, 0.15, 1, 0.56, "own"),
    Part(0.12, 0.55, 0.46, 1, "other"),
    Part(0.54, 0.55, 0.88, 1, "other"),
)
_RIDER = (
    Part(0.34, 0, 0.66, 0.14, "skin"),
    Part(0, 0.13, 1, 0.52, "own"),
    Part(0.2, 0.5, 0.8, 0.7, "other"),
    Part(0.4, 0.6, 0.6, 1, "rubber"),
)
_PARTS = {"Car": _VEHICLE, "Van": _VEHICLE, "Pedestrian": _PERSON, "Cyclist": _RIDER}


class Standing(NamedTuple):
    """An object in space, `across` the street or along it; sizes in metres."""

    kind: Kind
    x: float
    z: float
    height: float
    width: float
    length: float
    across: bool

    @property
    def seen_width(self) -> float:
        """What the camera sees of it, from left to right."""
        return self.length if self.across else self.width


class Seen(NamedTuple):
    """An object in a picture.

    Attributes:
        standing: where it is.
        box: left, top, right, bottom in pixels, cut at the picture's edges; hidden parts included.
        truncated: the part that is outside the picture.
        occluded: 0 to 3, as KITTI counts.
        is_labelled: somebody has looked at it; else it is in a region marked DontCare.
    """

    standing: Standing
    box: tuple[float, float, float, float]
    truncated: float
    occluded: int
    is_labelled: bool


class Camera(NamedTuple):
    """A camera by its picture's sides in pixels."""

    width: int
    height: int

    def column(self, x: float, z: float) -> float:
        """Return where a point is in the picture, from the left."""
        return self.width / 2 + FOCAL * self.width * x / z

    def row(self, y: float, z: float) -> float:
        """Return where a point is in the picture, from the top."""
        return HORIZON * self.height + FOCAL * self.width * y / z

    def box(self, of: Standing) -> tuple[float, float, float, float]:
        """Return the box of what stands on the ground, whether it is in the picture or not."""
        left, right = (self.column(of.x + side * of.seen_width / 2, of.z) for side in (-1, 1))
        return left, self.row(CAMERA_HEIGHT - of.height, of.z), right, self.row(CAMERA_HEIGHT, of.z)


def draw(rng: np.random.Generator, width: int, height: int) -> tuple[Array, list[Seen]]:
    """Draw one scene.

    Returns:
        The picture in [0, 1], shape (height, width, 3), and what is to be seen in it, the nearest first.
    """
    camera = Camera(width, height)
    picture = _surroundings(rng, camera)
    standing = sorted(_street(rng), key=lambda each: -each.z)
    for each in standing:
        _paint(rng, picture, camera, each)
    picture += rng.normal(0, 0.015, picture.shape)
    picture *= rng.uniform(0.85, 1.1)
    np.clip(picture, 0, 1, out=picture)
    free = np.ones((height, width))
    seen = [_seen(camera, each, free) for each in reversed(standing)]
    return picture, [each for each in seen if each is not None]


def _street(rng: np.random.Generator) -> list[Standing]:
    """Return what is in the street, in no order."""
    found: list[Standing] = []
    for lane in PARKED:
        z = rng.uniform(NEAREST, 14)
        crowded = rng.uniform(0.1, 0.8)
        while z < FARTHEST:
            if rng.uniform() < crowded:
                found.append(_stand(rng, _vehicle(rng), LANES[lane] + rng.normal(0, 0.15), z))
            z += rng.uniform(5, 8)
    for lane, most in (("own", 2), ("oncoming", 3)):
        for _ in range(rng.integers(0, most, endpoint=True)):
            z = _distance(rng, 7)
            if all(abs(other.z - z) > 6 for other in found if abs(other.x - LANES[lane]) < 1.5):
                found.append(_stand(rng, _vehicle(rng), LANES[lane] + rng.normal(0, 0.25), z))
    if rng.uniform() < 0.2:
        found.append(_stand(rng, CAR, rng.uniform(-9, 6), rng.uniform(14, 40), across=True))
    for kind, most in ((PEDESTRIAN, 3), (CYCLIST, 1)):
        for _ in range(rng.integers(0, most, endpoint=True)):
            x = rng.choice([-9.0, -5.0, 1.8, 5.6]) + rng.normal(0, 0.4)
            found.append(_stand(rng, kind, x, _distance(rng, 6)))
    return found


def _vehicle(rng: np.random.Generator) -> Kind:
    return VAN if rng.uniform() < 0.1 else CAR


def _distance(rng: np.random.Generator, nearest: float) -> float:
    return math.exp(rng.uniform(math.log(nearest), math.log(FARTHEST)))


def _stand(rng: np.random.Generator, kind: Kind, x: float, z: float, *, across: bool = False) -> Standing:
    height, width, length = (float(rng.uniform(*interval)) for interval in kind[1:])
    return Standing(kind, float(x), float(z), height, width, length, across)


def _seen(camera: Camera, of: Standing, free: Array) -> Seen | None:
    """Return what is to be said of an object; None where it is hardly in the picture.

    Args:
        camera: that sees it.
        of: the object.
        free: the part of each pixel that nothing nearer covers; what this object covers is taken from it.
    """
    left, top, right, bottom = camera.box(of)
    whole = np.zeros_like(free)
    for part in _rectangles(of):
        window, mask = _part(camera, of, part)
        np.maximum(whole[window], mask, out=whole[window])
    visible = float((whole * free).sum())
    free *= 1 - whole
    box = (max(0.0, left), max(0.0, top), min(float(camera.width), right), min(float(camera.height), bottom))
    inside = max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]) / ((right - left) * (bottom - top))
    if inside < LEAST_INSIDE:
        return None
    share = visible / whole.sum()
    occluded = next((place for place, least in enumerate(VISIBLE) if share >= least), len(VISIBLE))
    return Seen(of, box, 1 - inside, occluded, of.z < UNLABELLED)


def _rectangles(of: Standing) -> tuple[Part, ...]:
    return _SIDE if of.across else _PARTS[of.kind.type]


def _part(camera: Camera, of: Standing, part: Part) -> tuple[tuple[slice, slice], Array]:
    """Return where in the picture a part of an object is, and what it covers of each pixel there."""
    left, top, right, bottom = camera.box(of)
    return _rectangle(
        camera,
        (left + part.left * (right - left), top + part.top * (bottom - top)),
        (left + part.right * (right - left), top + part.bottom * (bottom - top)),
    )


def _rectangle(
    camera: Camera, low: tuple[float, float], high: tuple[float, float]
) -> tuple[tuple[slice, slice], Array]:
    """Return likewise of a rectangle, from its corner at the upper left to that at the lower right."""
    columns, across = _span(low[0], high[0], camera.width)
    rows, down = _span(low[1], high[1], camera.height)
    return (rows, columns), down[:, None] * across


def _span(low: float, high: float, count: int) -> tuple[slice, Array]:
    """Return those of `count` pixels in a row that lie between two places, and which part of each does."""
    first, last = (min(max(0, edge), count) for edge in (math.floor(low), math.ceil(high)))
    pixels = np.arange(first, max(first, last))
    return slice(first, max(first, last)), np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, 1)


def _blend(picture: Array, where: tuple[tuple[slice, slice], Array], paint: Array, strength: float = 1.0) -> None:
    window, mask = where
    picture[window] += (strength * mask)[..., None] * (paint - picture[window])


def _paint(rng: np.random.Generator, picture: Array, camera: Camera, of: Standing) -> None:
    paints = {name: colour(*paint) for name, paint in _FIXED.items()}
    paints["own"] = colour(rng.uniform(0.12, 0.85), rng.uniform(0, 360), rng.uniform(0.0, 0.14))
    paints["other"] = colour(rng.uniform(0.12, 0.5), rng.uniform(0, 360), 0.06)
    left, _, right, bottom = camera.box(of)
    deep = right - left
    shadow = _rectangle(camera, (left, bottom - 0.04 * deep), (right, bottom + 0.06 * deep))
    _blend(picture, shadow, np.zeros(3), strength=0.5)
    for part in _rectangles(of):
        _blend(picture, _part(camera, of, part), paints[part.paint])


def _surroundings(rng: np.random.Generator, camera: Camera) -> Array:
    """Return a street without anything in it."""
    picture = np.empty((camera.height, camera.width, 3))
    picture[:] = colour(rng.uniform(0.55, 0.9), rng.uniform(0, 40), rng.uniform(0, 0.1))
    for side in (-1, 1):
        z = FARTHEST
        while z > NEAREST:
            depth, tall = rng.uniform(4, 14), rng.uniform(2.5, 11)
            paint = colour(
                rng.uniform(0.2, 0.6), *((rng.uniform(200, 250), 0.1) if rng.uniform() < 0.4 else (130, 0.04))
            )
            x, near = side * rng.uniform(9.5, 13), max(1.5, z - depth)
            edges = sorted(camera.column(x, at) for at in (z, near))
            top, bottom = camera.row(CAMERA_HEIGHT - tall, (z + near) / 2), camera.row(CAMERA_HEIGHT, z)
            _blend(picture, _rectangle(camera, (edges[0], top), (edges[1], bottom)), paint)
            z -= depth
    rows = np.arange(camera.height) + 0.5 - HORIZON * camera.height
    below = rows > 0
    far = (FOCAL * camera.width * CAMERA_HEIGHT / np.where(below, rows, 1))[:, None]
    aside = (np.arange(camera.width) + 0.5 - camera.width / 2) * far / (FOCAL * camera.width)
    on_road = (aside > ROAD[0]) & (aside < ROAD[1])
    asphalt, verge = colour(rng.uniform(0.3, 0.5), 0, 0), colour(rng.uniform(0.3, 0.5), rng.uniform(180, 240), 0.06)
    ground = np.where(on_road[..., None], asphalt, verge)
    marked = (np.abs(aside - LANES["oncoming"] / 2) < 0.12) & ((far + rng.uniform(0, 6)) % 6 < 3)
    ground = np.where(marked[..., None], 0.8, ground)
    return np.where(below[:, None, None], ground, picture)
