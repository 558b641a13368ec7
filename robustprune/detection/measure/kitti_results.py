"""Detections as KITTI's server and development kit take them, a file for each picture: written, and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robustprune.core.errors import InputError
from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.kitti.labels import label_line, read_detections
from robustprune.detection.measure.matching import Detections


def read_kitti_results(folder: Path, split: CocoSplit) -> list[Detections]:
    """Return the detections in a folder, image by image, on images of `split`, and of its classes.

    A picture without a file has none. Files of other pictures, and lines of other classes, are left alone.

    Raises:
        InputError: a file is wrong, or none is of these pictures.
    """
    paths = {image_id: folder / f"{image_id:06d}.txt" for image_id in split.image_ids}
    if not any(path.is_file() for path in paths.values()):
        raise InputError(
            f"{folder}: found no file of the {len(paths)} pictures of {split.source}, expected detections, one file "
            f"for each picture, such as {next(iter(paths.values())).name}"
        )
    classes = {name: class_ for class_, name in enumerate(split.category_names)}
    found = []
    for image_id, path in paths.items():
        types, boxes, scores = read_detections(path) if path.is_file() else ((), np.zeros((0, 4)), np.zeros(0))
        own = np.array([type_ in classes for type_ in types], dtype=np.bool_)
        of_class = torch.tensor([classes[type_] for type_ in types if type_ in classes], dtype=torch.int64)
        found.append(Detections(image_id, torch.from_numpy(boxes[own]), torch.from_numpy(scores[own]), of_class))
    return found


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
