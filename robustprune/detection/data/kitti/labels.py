"""KITTI's label files, a line of fifteen fields per object: read, or one sentence on what is wrong; and written.

Files of detections are the same with a sixteenth field, the score.

What an object counts for is in `levels`; pictures and splits are in `split`.

Source: the readme of the object development kit (Geiger, Lenz and Urtasun, Are we ready for autonomous driving?, 2012).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustprune import staging
from robustprune.core.errors import InputError
from robustprune.core.files import read_utf8, undecodable

TYPES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare")
"""What an object can be; the last is a region where nobody has looked for any."""

DONT_CARE = TYPES[-1]

FIELDS = (
    *("type", "truncated", "occluded", "alpha", "left", "top", "right", "bottom"),
    *("height", "width", "length", "x", "y", "z", "rotation_y"),
)
"""Of a line. Edges are pixels of the picture; the rest is of space, in metres and radians, and not used here."""

SCORED = (*FIELDS, "score")
"""Of a line of detections."""

UNKNOWN = (-1, -1, -10), (-1, -1, -1, -1000, -1000, -1000, -10)
"""What a line says before and after the box where it is of the box alone."""


class Labels(NamedTuple):
    """What is in one picture, in the order of its file; N objects and regions.

    Attributes:
        types: each of `TYPES`.
        truncated: the part that is outside the picture, of [0, 1]; −1 where that is not known, (N,).
        occluded: 0: visible, 1: partly occluded, 2: largely occluded, 3: nobody knows; −1 of regions, (N,).
        boxes: left, top, right and bottom in pixels of the picture, (N, 4).
    """

    types: tuple[str, ...]
    truncated: NDArray[np.float64]
    occluded: NDArray[np.int64]
    boxes: NDArray[np.float64]

    def of_type(self, *types: str) -> NDArray[np.bool_]:
        """Say of each whether it is of one of these types, (N,)."""
        return np.array([type_ in types for type_ in self.types], dtype=np.bool_)


def read_labels(path: Path) -> Labels:
    """Return what a label file says.

    Raises:
        InputError: it cannot be read, or a line is wrong; the message has the file, the line and the field.
    """
    types, table = _read(path, FIELDS, "a label file of KITTI's")
    return Labels(types, table[:, 0], table[:, 1].astype(np.int64), table[:, 3:7])


def read_detections(path: Path) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
    """Return types, boxes (N, 4) and scores (N,) of a file of detections.

    Raises:
        InputError: as `read_labels`.
    """
    types, table = _read(path, SCORED, "a file of detections of KITTI's")
    return types, table[:, 3:7], table[:, -1]


def label_line(
    type_: str,
    box: Sequence[float],
    *,
    before: Sequence[float] = UNKNOWN[0],
    after: Sequence[float] = UNKNOWN[1],
    score: float | None = None,
) -> str:
    """Return a line of a label file, or of a file of detections, which have a score.

    Args:
        type_: one of `TYPES`.
        box: left, top, right, bottom in pixels.
        before: truncated, occluded, alpha.
        after: height, width, length, x, y, z, rotation_y.
        score: the larger the surer.
    """
    truncated, occluded, alpha = before
    said = [type_, f"{truncated:.2f}" if truncated >= 0 else "-1", f"{occluded:.0f}", _plain(alpha)]
    said += [f"{edge:.2f}" for edge in box] + [_plain(each) for each in after]
    return " ".join(said if score is None else [*said, f"{score:.6g}"])


def _plain(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.2f}"


def _read(path: Path, fields: Sequence[str], what: str) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the types in a file, and the numbers after them, (N, fields − 1)."""
    content = read_utf8(path, what) if path.stat().st_size else b""
    if found := undecodable(content):
        raise InputError(f"{path}: found {found}, expected {what}")
    types, numbers = [], []
    for number, line in enumerate(content.decode().splitlines(), start=1):
        if written := line.split():
            types.append(_type(written, fields, f"{path}: line {number}"))
            numbers.append(_numbers(written, fields, f"{path}: line {number}"))
    return tuple(types), np.array(numbers, dtype=np.float64).reshape(-1, len(fields) - 1)


def _type(written: Sequence[str], fields: Sequence[str], where: str) -> str:
    if len(written) != len(fields):
        more = "; a sixteenth is the score of a detection" if len(written) == len(SCORED) else ""
        raise InputError(
            f"{where}: found {len(written)} fields, expected {len(fields)}, {fields[0]} to {fields[-1]}{more}"
        )
    if written[0] not in TYPES:
        near = difflib.get_close_matches(written[0].title(), TYPES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{where}, field type: found {written[0]!r}, expected one of {', '.join(TYPES)}{hint}")
    return written[0]


_OTHERS: dict[str, tuple[Callable[[float], bool], str]] = {
    "truncated": (lambda value: 0 <= value <= 1 or value == -1, "a part of [0, 1], or -1"),
    "occluded": (lambda value: value in (-1, 0, 1, 2, 3), "0, 1, 2 or 3, or -1"),
}
"""What fields have to be that are more than numbers."""


def _numbers(written: Sequence[str], fields: Sequence[str], where: str) -> list[float]:
    values = []
    for name, text in zip(fields[1:], written[1:], strict=True):
        fits, expected = _OTHERS.get(name, (math.isfinite, "a finite number"))
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise InputError(f"{where}, field {name}: found {text!r}, expected {expected}")
        values.append(value)
    left, top, right, bottom = values[3:7]
    for name, low, high in (("right", left, right), ("bottom", top, bottom)):
        if high < low:
            raise InputError(f"{where}, field {name}: found {high:g}, expected at least {low:g}, where the box begins")
    return values


def read_folder(folder: Path, stems: Sequence[str]) -> list[Labels]:
    """Return the labels of pictures, by the names of these without their endings.

    Raises:
        InputError: a file is missing or wrong.
    """
    paths = [folder / f"{stem}.txt" for stem in stems]
    beside = staging.listed(folder)
    for path in paths:
        if not (path.is_file() if beside is None else path.name in beside):
            raise InputError(f"{path}: No such file or directory, expected the labels of the picture {path.stem}")
    staging.fetch(paths)
    return [read_labels(path) for path in paths]
