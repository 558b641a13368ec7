"""Detections as KITTI's server and development kit take them: a file for each picture, a line for each box."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from robustprune.core.errors import InputError
from robustprune.detection.data.kitti.labels import label_line


def write_kitti_results(folder: Path, found: Mapping[str, Any], image_ids: Iterable[int] = ()) -> int:
    """Write detections, the surest of a picture first, and return how many files that were.

    Args:
        folder: made if need be; it must hold nothing yet.
        found: columns of `detection_table`, of one model on pictures in one condition.
        image_ids: further pictures, in which nothing may have been found.

    Raises:
        InputError: the folder holds something, or cannot be written.
    """
    lines: dict[int, list[tuple[float, str]]] = {image_id: [] for image_id in image_ids}
    names = ("image_id", "x", "y", "width", "height", "score", "category")
    for image_id, x, y, width, height, score, category in zip(*([*found[name]] for name in names), strict=True):
        box = (float(x), float(y), float(x) + float(width), float(y) + float(height))
        lines.setdefault(int(image_id), []).append((float(score), label_line(str(category), box, score=float(score))))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InputError(f"{folder}: found files there, expected a folder to create, or an empty one")
        for image_id, of_image in lines.items():
            surest_first = sorted(of_image, key=lambda each: -each[0])
            text = "".join(f"{line}\n" for _, line in surest_first)
            (folder / f"{image_id:06d}.txt").write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}, expected a folder to write detections to") from None
    return len(lines)
