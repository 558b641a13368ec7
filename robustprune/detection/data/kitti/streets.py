"""The embedded data set `streets`, written to disk in KITTI's format; how a scene is drawn is in `scenes`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from robustprune import staging
from robustprune.core.errors import InputError
from robustprune.core.files import write_folder_once
from robustprune.detection.data.kitti.files import LABELS, PICTURES, PLACES
from robustprune.detection.data.kitti.labels import DONT_CARE, label_line
from robustprune.detection.data.kitti.scenes import CAMERA_HEIGHT, Seen, draw

VERSION = 1  # raised by hand whenever the same settings give other bytes

LISTS = {"train": "ImageSets/train.txt", "val": "ImageSets/val.txt"}
"""The files that list the pictures of each split."""

KITTI_WIDTH = 1242
"""Of KITTI's pictures, in pixels, in which heights are told."""

_SETTINGS = "streets.json"


def pixel_of(root: Path) -> float:
    """Return the side of a pixel of a data set's pictures, in pixels of KITTI's: 1, but for streets, which are smaller.

    Args:
        root: of any data set in KITTI's format.
    """
    path = root / _SETTINGS
    beside = staging.listed(root)
    if not (path.is_file() if beside is None else path.name in beside):
        return 1.0
    staging.fetch([path])
    try:
        return KITTI_WIDTH / int(json.loads(path.read_bytes())["width"])
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        raise InputError(f"{path}: found something else, expected what `streets` wrote of its pictures") from None


def generate(root: Path, *, seed: int = 0, train_images: int = 256, val_images: int = 96, width: int = 192) -> Path:
    """Write the data set to `root`, unless it is there already, and return `root`.

    The bytes depend on the settings alone, a picture's on `seed`, `width`, its split and its index: more pictures
    never change earlier ones. The folder appears whole or not at all.

    Args:
        root: folder to create.
        seed: source of all randomness, at least 0.
        train_images: how many there are to train on.
        val_images: how many there are to measure on.
        width: of the pictures in pixels; they are a third as high.

    Raises:
        InputError: `root` holds something else.
    """
    settings = {
        "version": VERSION,
        "seed": seed,
        "train_images": train_images,
        "val_images": val_images,
        "width": width,
    }
    write_folder_once(root, "streets", lambda finished: _write(finished, settings))
    path = root / _SETTINGS
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise InputError(f"{root} exists and is not a `streets` data set, expected a folder to create") from None
    if found != settings:
        raise InputError(f"{path}: found {found}, expected {settings}; name another folder")
    return root


def _write(root: Path, settings: Mapping[str, int]) -> None:
    pictures, labels = (root / PLACES[0] / name for name in (PICTURES, LABELS))
    for folder in (pictures, labels, (root / LISTS["train"]).parent):
        folder.mkdir(parents=True)
    width = settings["width"]
    for number, (split, listed) in enumerate(LISTS.items()):
        stems = []
        for index in range(settings[f"{split}_images"]):
            pixels, seen = draw(np.random.default_rng([settings["seed"], number, index]), width, width // 3)
            # Even numbers to train on and odd ones to measure on: apart, however many there are.
            stem = f"{len(LISTS) * index + number:06d}"
            picture = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
            picture.save(pictures / f"{stem}.png", compress_level=1)
            (labels / f"{stem}.txt").write_text("".join(f"{_line(each)}\n" for each in seen), encoding="utf-8")
            stems.append(stem)
        (root / listed).write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    (root / _SETTINGS).write_text(json.dumps(settings), encoding="utf-8")


def _line(seen: Seen) -> str:
    if not seen.is_labelled:
        return label_line(DONT_CARE, seen.box)
    standing = seen.standing
    turned = 0.0 if standing.across else -math.pi / 2
    alpha = turned - math.atan2(standing.x, standing.z)
    sides = (standing.height, standing.width, standing.length)
    return label_line(
        standing.kind.type,
        seen.box,
        before=(seen.truncated, seen.occluded, alpha),
        after=(*sides, standing.x, CAMERA_HEIGHT, standing.z, turned),
    )
