"""One picture: an image with boxes and their labels, small enough for a page of hundreds. Nothing here reads files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIDE = 200
"""The longer side of a picture in pixels."""

MEDIA_TYPE = "image/jpeg"

# Okabe & Ito's palette, safe under the common colour blindnesses, without those too dark for black letters.
_COLOURS = ("#E69F00", "#56B4E9", "#F0E442", "#D55E00", "#009E73", "#CC79A7")
_FONT_SIZE = 11

MOST_HIDDEN = 4
"""A label that is so many times as large as its box is left out: of small objects in a row none would be seen."""

Rectangle = tuple[float, float, float, float]


def thumbnail(image: Image.Image) -> Image.Image:
    """Return an image with its longer side at `SIDE` pixels."""
    scale = SIDE / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def draw(picture: Image.Image, boxes: NDArray[Any], classes: NDArray[Any], labels: Sequence[str]) -> bytes:
    """Return a picture with boxes as a JPEG; `picture` stays as it is.

    Args:
        picture: RGB.
        boxes: x1, y1, x2, y2 as fractions of the picture's width and height, shape (K, 4). The first are drawn on top.
        classes: Each has its colour, shape (K,).
        labels: One per box; that of a tiny one is left out.
    """
    drawn = picture.copy()
    pencil = ImageDraw.Draw(drawn)
    rectangles = [(x1, y1, x2, y2) for x1, y1, x2, y2 in (boxes * [*drawn.size, *drawn.size]).tolist()]
    colours = [_COLOURS[class_ % len(_COLOURS)] for class_ in classes.tolist()]
    for (x1, y1, x2, y2), colour in reversed(list(zip(rectangles, colours, strict=True))):
        # The dark line inside shows the box on what has its very colour.
        pencil.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline="black", width=3)
        pencil.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=2)
    taken: list[Rectangle] = []
    for rectangle, colour, label in zip(rectangles, colours, labels, strict=True):
        if not _hides(pencil, label, rectangle):
            taken.append(_tag(pencil, label, rectangle, colour, taken))
    encoded = io.BytesIO()
    # Letters and lines are drawn in colour, which the usual subsampling would smear.
    drawn.save(encoded, "JPEG", quality=75, subsampling=0, optimize=True)
    return encoded.getvalue()


def _hides(pencil: ImageDraw.ImageDraw, text: str, box: Rectangle) -> bool:
    """Say whether a label would cover so much more than its box that it hides what is about it."""
    x1, y1, x2, y2 = box
    width, height = _sides(pencil, text)
    return width * height > MOST_HIDDEN * (x2 - x1) * (y2 - y1)


def _sides(pencil: ImageDraw.ImageDraw, text: str) -> tuple[float, float]:
    return pencil.textlength(text, ImageFont.load_default(_FONT_SIZE)) + 4, _FONT_SIZE + 3


def _tag(pencil: ImageDraw.ImageDraw, text: str, box: Rectangle, colour: str, taken: Sequence[Rectangle]) -> Rectangle:
    """Write black on `colour` at a corner of the box where nothing is written yet, if there is one."""
    width, height = _sides(pencil, text)
    x1, y1, x2, y2 = box
    corners = ((x1, y1 - height), (x1, y1), (x2 - width, y2 - height), (x1, y2 - height), (x1, y2))
    page_width, page_height = pencil.im.size
    places = [
        (left, top, left + width, top + height)
        for left, top in (
            (max(0, min(x, page_width - width)), max(0, min(y, page_height - height))) for x, y in corners
        )
    ]
    place = next((place for place in places if not any(_overlap(place, other) for other in taken)), places[0])
    pencil.rectangle(place, fill=colour)
    pencil.text((place[0] + 2, place[1]), text, fill="black", font=ImageFont.load_default(_FONT_SIZE))
    return place


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
