"""The embedded data set `shapes`, written to disk in COCO layout; what is in an image is in `shapes_drawing`.

Six categories on textured, cluttered backgrounds. Lemon and lime share their shape and their distribution of
luma and differ in hue alone, and so do brick and moss: a detector that sees greyscale can only guess.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from robustprune.core.errors import InputError
from robustprune.core.files import write_folder_once
from robustprune.core.images.drawing import CATEGORIES, draw

VERSION = 1  # raised by hand whenever the same settings give other bytes
SPLITS = ("train", "val")


def generate(
    root: Path,
    *,
    seed: int = 0,
    train_images: int = 256,
    val_images: int = 96,
    image_size: int = 64,
) -> Path:
    """Write the data set to `root`, unless it is there already, and return `root`.

    The bytes depend on the settings alone, an image's on `seed`, `image_size`, its split and its index: more
    images never change earlier ones. The folder appears whole or not at all, also when several processes
    write it at once.

    Args:
        root: Folder to create, with `annotations/instances_{train,val}.json`, `train/*.png` and `val/*.png`.
        seed: Source of all randomness, at least 0.
        train_images: Number of training images, at least 1.
        val_images: Number of validation images, at least 1.
        image_size: Side of the square images in pixels, at least 32.

    Raises:
        InputError: A setting is too small, or `root` holds something else.
    """
    settings = {
        "version": VERSION,
        "seed": seed,
        "train_images": train_images,
        "val_images": val_images,
        "image_size": image_size,
    }
    for name, least in {"seed": 0, "train_images": 1, "val_images": 1, "image_size": 32}.items():
        if settings[name] < least:
            raise InputError(f"shapes: {name} is {settings[name]}, expected at least {least}")

    def write(finished: Path) -> None:
        for split, images in zip(SPLITS, (train_images, val_images), strict=True):
            _write_split(finished, split, images, settings)

    write_folder_once(root, "shapes", write)
    _check_settings(root, settings)
    return root


def _write_split(root: Path, split: str, count: int, settings: Mapping[str, int]) -> None:
    folder = root / split
    folder.mkdir(parents=True)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    size, number = settings["image_size"], SPLITS.index(split)
    for index in range(count):
        pixels, objects = draw(np.random.default_rng([settings["seed"], number, index]), size)
        # Odd ids for train and even ones for val: apart, whatever the number of images.
        image_id = 1 + len(SPLITS) * index + number
        file_name = f"{split}_{index:06d}.png"
        Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(folder / file_name, compress_level=1)
        images.append({"id": image_id, "file_name": file_name, "width": size, "height": size})
        annotations += [
            {
                "id": len(annotations) + position,
                "image_id": image_id,
                "category_id": drawn.category.id,
                "bbox": [round(edge, 2) for edge in drawn.box],
                "area": round(drawn.area, 2),
                "iscrowd": 0,
                "segmentation": [],
            }
            for position, drawn in enumerate(objects, start=1)
        ]
    categories = [{"id": category.id, "name": category.name} for category in CATEGORIES]
    content = {"info": dict(settings), "images": images, "annotations": annotations, "categories": categories}
    path = _annotation_file(root, split)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _check_settings(root: Path, settings: Mapping[str, int]) -> None:
    path = _annotation_file(root, "train")
    try:
        found = json.loads(path.read_bytes())["info"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{root} exists and is not a `shapes` data set, expected a folder to create") from None
    if found != settings:
        raise InputError(f"{path}: field info is {found}, expected {dict(settings)}; name another folder")


def _annotation_file(root: Path, split: str) -> Path:
    return root / "annotations" / f"instances_{split}.json"
