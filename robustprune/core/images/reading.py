"""The one reader of pictures: RGB with 8 bits per channel of any file that Pillow knows, or one sentence why not."""

from __future__ import annotations

import struct
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from robustprune.core.errors import InputError
from robustprune.core.files import HEAD, mistaken_for

Exif = Literal["ignore", "apply"]
"""Whether a picture is taken as it is stored, or turned and mirrored as the orientation tag in its metadata says."""

UPRIGHT = 1
"""The orientation of a picture without a tag; the others are 2 to 8, of which those from 5 on swap its sides."""

SWAPS_SIDES = 5

# What Pillow raises for files that are no pictures, or broken ones, and `zipfile` for broken or encrypted members.
DAMAGED = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, struct.error),
    *(Image.DecompressionBombError, zipfile.BadZipFile, zlib.error, RuntimeError),
)

# Broken metadata, as some photographs have, is no damage to the picture; what is cut off or too large is refused.
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class Kind(NamedTuple):
    """What a picture's file says of it, before it is turned.

    Attributes:
        width: In pixels, as stored.
        height: Likewise.
        mode: Pillow's; of one channel of 16 bits always `I;16…`.
        orientation: By the EXIF tag, 1 to 8.
    """

    width: int
    height: int
    mode: str
    orientation: int

    @property
    def is_deep(self) -> bool:
        """Whether it has one channel of 16 bits, which is scaled to 8."""
        return self.mode.startswith("I;16")


def read_rgb(file: IO[bytes], name: str, *, exif: Exif = "ignore") -> tuple[Image.Image, Kind]:
    """Return a picture as RGB, whatever its file's colour space, and what its file says of it.

    Transparency is dropped. 16 bits are scaled to 8, as Pillow does with three channels of so many: their upper byte.

    Args:
        file: open, at its start; left open.
        name: for messages.
        exif: whether its orientation tag counts.

    Raises:
        InputError: the file is damaged, something else, or has pixels of 32 bits or floating point.
    """
    head = None
    try:
        head = file.read(HEAD)
        file.seek(0)
        with Image.open(file) as image:
            # Of the picture that still has its metadata: those of some colour spaces are lost on the way to RGB.
            kind = Kind(*image.size, _mode(image), _orientation(image))
            image.load()
            picture = _rgb(image, name)
            if image.format == "TIFF":
                # Which Pillow turns by itself, of all formats this one alone.
                picture = _as_stored(picture, kind.orientation)
                kind = kind._replace(width=picture.width, height=picture.height)
            if exif == "apply" and kind.orientation != UPRIGHT:
                picture = picture.transpose(_TURNS[kind.orientation])
            return picture, kind
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{name}: {_told(error, head)}, expected an image file") from None


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height of a picture as it is stored, in pixels; its pixels are not looked at.

    Raises:
        InputError: there is no such file, or it is damaged or something else.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError as error:
        raise InputError(f"{path}: {error.strerror}, expected an image file") from None
    except DAMAGED as error:
        head = path.read_bytes()[:HEAD] if path.is_file() else None
        raise InputError(f"{path}: {_told(error, head)}, expected an image file") from None


def check_checksums(content: bytes, name: str) -> None:
    """Check the checksums of the pixels where a picture's format has some, PNG: Pillow decodes without a look at them.

    Args:
        content: of a file that `read_rgb` reads.
        name: for messages.

    Raises:
        InputError: the pixels are not those that were written.
    """
    if not content.startswith(_PNG):
        return
    view, position = memoryview(content), len(_PNG)
    while position + 8 < len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 8 + length
        written = int.from_bytes(view[end : end + 4], "big")
        if kind in _PIXELS and zlib.crc32(view[position + 4 : end]) != written:
            raise InputError(f"{name}: found pixels of another checksum than the file says, expected an image file")
        position = end + 4


_PNG, _PIXELS = b"\x89PNG\r\n\x1a\n", (b"IDAT", b"PLTE")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture of an orientation upright, as Pillow's `exif_transpose` does."""


def _as_stored(upright: Image.Image, orientation: int) -> Image.Image:
    """Return what is upright as it was before it was turned; each of the turns undoes itself, but a quarter."""
    if orientation == UPRIGHT:
        return upright
    return upright.transpose(_TURNS[{6: 8, 8: 6}.get(orientation, orientation)])


def _told(error: BaseException, head: bytes | None) -> str:
    if head is not None and (what := mistaken_for(head)):
        return f"found {what}"
    if isinstance(error, UnidentifiedImageError):
        return "found no picture of a format that is known"
    if isinstance(error, Image.DecompressionBombError):
        return f"found more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels"
    said = str(error) or type(error).__name__
    return " ".join(said.split())


def _mode(image: Image.Image) -> str:
    # Portable graymaps of more than 8 bits are scaled to 16 by Pillow, in pixels of 32.
    return "I;16" if (image.format, image.mode) == ("PPM", "I") else image.mode


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except (*DAMAGED, AttributeError):
        return UPRIGHT
    return found if isinstance(found, int) and found in _TURNS else UPRIGHT


def picture_remarks(kinds: Sequence[Kind], source: str, *, exif: Exif) -> list[str]:
    """Return sentences on pictures that were not simply read.

    Args:
        kinds: of all pictures.
        source: where they are from, for messages.
        exif: whether orientation tags counted.
    """
    tagged = sum(kind.orientation != UPRIGHT for kind in kinds)
    deep = sum(kind.is_deep for kind in kinds)
    remarks = []
    if tagged and exif == "ignore":
        remarks.append(
            f"{source}: {tagged} images have an EXIF orientation tag and are taken as they are stored "
            "(exif: apply, or --exif apply, turns them)"
        )
    elif tagged:
        remarks.append(f"{source}: {tagged} images are turned as their EXIF orientation tag says")
    if deep:
        remarks.append(f"{source}: {deep} images of 16 bits per pixel are scaled to 8")
    return remarks


def _rgb(image: Image.Image, name: str) -> Image.Image:
    if _mode(image).startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode.startswith(("I", "F")):
        raise InputError(
            f"{name}: found pixels of {'floating point' if image.mode == 'F' else '32 bits'} (mode {image.mode!r}), "
            "whose range no file tells, expected 8 or 16 bits per channel"
        )
    # By way of RGBA, as Pillow warns of palettes that have transparent colours.
    return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")
