"""Which way of convolution is the fastest on a CPU, by shape alone: the same in every run, and so are the results.

Figures are nanoseconds per product, or per number moved, of one core with 256-bit units (Zen 2); on others all of them
shrink or grow together.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from robustprune.training.convolutions import winograd

Way = Literal["direct", "unrolled", "winograd"]

KEPT_USES = 4
"""How often filters are used that are transformed once for an attack: forward passes, or backward ones."""

_LARGE = 1_000_000
"""Weights of a layer that no longer fit into a processor's caches."""

_MARGIN = 0.9
"""Share of the direct way's time that another must stay below."""


class Shape(NamedTuple):
    """Of a convolution: N images, their channels, filters, the filter's sides, and height and width that come out.

    `plain` says that stride and padding are 1 and the sides 3.
    """

    images: int
    channels: int
    outputs: int
    size: tuple[int, int]
    height: int
    width: int
    plain: bool

    def turned(self) -> Shape:
        """Return the convolution that gradients of images are, if this one is plain."""
        return self._replace(channels=self.outputs, outputs=self.channels)


def forward(shape: Shape, *, uses: int = 1) -> Way:
    """Return how to convolve images, with filters that serve so many `uses` in a row."""
    weights = _weights(shape)
    overhead = 2.0 * weights if weights > _LARGE else 0.0
    return _cheapest(
        direct=_products(shape) / 40 + overhead,
        unrolled=_unrolled(shape),
        winograd=_winograd(shape, before=3.4, after=1.3, per_weight=1.1 / uses),
    )


def image_gradient(shape: Shape, *, uses: int = 1) -> Way:
    """Return how to find the gradient of images."""
    return forward(shape.turned(), uses=uses)


def weight_gradient(shape: Shape) -> Way:
    """Return how to find the gradient of weights."""
    weights = _weights(shape)
    return _cheapest(
        direct=_products(shape) / 26 + (7.0 if weights > _LARGE else 2.5) * weights,
        unrolled=_unrolled(shape),
        winograd=_winograd(shape, before=3.4, after=2.0, per_weight=1.5),
    )


def _cheapest(*, direct: float, unrolled: float, winograd: float) -> Way:
    limit = _MARGIN * direct
    if min(unrolled, winograd) > limit:
        return "direct"
    return "unrolled" if unrolled <= winograd else "winograd"


def _weights(shape: Shape) -> int:
    return shape.channels * shape.outputs * shape.size[0] * shape.size[1]


def _products(shape: Shape) -> int:
    return shape.images * shape.height * shape.width * _weights(shape)


def _unrolled(shape: Shape) -> float:
    moved = shape.images * shape.height * shape.width * shape.channels * shape.size[0] * shape.size[1]
    return _products(shape) / 28 + 0.35 * _weights(shape) + moved


def _winograd(shape: Shape, *, before: float, after: float, per_weight: float) -> float:
    if not shape.plain:
        return float("inf")
    tiles = shape.images * winograd.tiles_of(shape.height, shape.width)
    channels, outputs = shape.channels, shape.outputs
    each = tiles * channels * outputs / 28 + before * tiles * channels + after * tiles * outputs
    return winograd.PATCH**2 * (each + per_weight * channels * outputs)
