"""Where KITTI's files are, and which pictures are of which split; what is in a file is read in `labels` and `split`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from robustprune import staging
from robustprune.core.errors import InputError
from robustprune.core.files import read_utf8
from robustprune.detection.data.layouts import located

PICTURES, LABELS = "image_2", "label_2"

PLACES = ("training", "", "Kitti/raw/training", "raw/training")
"""Where these two are in a data set: as KITTI is unpacked, and as torchvision does that."""

ENDINGS = (".png", ".jpg", ".jpeg")


class Folder(NamedTuple):
    """A folder with pictures and labels; `pictures` are the names of files by the names without endings, in order."""

    path: Path
    pictures: dict[str, str]


def folder_of(root: Path) -> Folder:
    """Return the folder of a data set's pictures and labels.

    Raises:
        InputError: there is none, or its pictures are not named by numbers.
    """
    for place in PLACES:
        path = root / place
        if names := _names(path / PICTURES):
            return Folder(path, _by_stem(path, names))
    raise InputError(
        f"{root}: found no pictures in {' or '.join(f'{place}/{PICTURES}' for place in PLACES[:1])}, expected KITTI's "
        f"layout there: {PLACES[0]}/{PICTURES}/000000.png and {PLACES[0]}/{LABELS}/000000.txt"
    )


def listed_in(root: Path, given: str, field: str, folder: Folder) -> list[str]:
    """Return the pictures of a split that a file lists, one a line.

    Args:
        root: of the data set; the file's name is relative to it.
        given: the name of the file, such as ImageSets/train.txt.
        field: that names it, for messages.
        folder: of the pictures.

    Raises:
        InputError: it cannot be read, is empty, names a picture twice, or one that is not there.
    """
    path = located(root, given, field)
    staging.fetch([path])
    try:
        text = read_utf8(path, "the names of pictures, one a line").decode()
    except UnicodeDecodeError:
        raise InputError(f"{path}: found text in another encoding, expected the names of pictures in UTF-8") from None
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stem = line.strip()
        if not stem:
            continue
        if stem not in folder.pictures:
            raise InputError(f"{path}: line {number}: found {stem!r}, expected a picture in {folder.path / PICTURES}")
        if stem in found:
            raise InputError(f"{path}: line {number}: found {stem!r}, expected it once: it is line {found[stem]} too")
        found[stem] = number
    if not found:
        raise InputError(f"{path}: found no line, expected the names of pictures, such as 000012, one a line")
    return sorted(found, key=int)


def _names(folder: Path) -> Sequence[str]:
    beside = staging.listed(folder)
    if beside is None:
        try:
            beside = frozenset(os.listdir(folder))
        except OSError:
            return []
    return sorted(name for name in beside if name.lower().endswith(ENDINGS) and not name.startswith("."))


def _by_stem(path: Path, names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    numbers: dict[int, str] = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        if not (stem.isascii() and stem.isdigit()):
            raise InputError(f"{path / PICTURES / name}: found the name {stem!r}, expected a number, such as 000012")
        if int(stem) in numbers:
            raise InputError(
                f"{path / PICTURES / name}: found the number {int(stem)} again, expected one picture of it: "
                f"{numbers[int(stem)]} is too"
            )
        numbers[int(stem)] = name
        found[stem] = name
    return dict(sorted(found.items(), key=lambda item: int(item[0])))
