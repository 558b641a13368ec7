"""Where the files of a split are: the layouts in which COCO and the tools that export its format write data sets.

What is in an annotation file is in `coco_json`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from robustprune import staging
from robustprune.core.errors import InputError
from robustprune.core.files import other_spelling

ANNOTATIONS = (
    "annotations/instances_{split}.json",  # COCO and CVAT
    "{split}/_annotations.coco.json",  # Roboflow
    "{split}/labels.json",  # FiftyOne, a folder per split
    "{split}/result.json",  # Label Studio, likewise
    "annotations/{split}.json",
    "{split}.json",  # Label Studio, whose file is result.json
    "instances_{split}.json",
    "{split}/annotations.json",
)
"""Where the annotations of a split may be; the first that is there is taken."""

FIFTYONE = ("data", "labels.json")
"""A data set of FiftyOne's without splits: its folder of pictures, which names it, and its annotations."""

LISTED = 5
"""Annotation files that a message tells of."""


def annotation_file(root: Path, split: str) -> Path:
    """Return the annotation file of a split in one of the layouts.

    Raises:
        InputError: there is none.
    """
    names = [name.format(split=split) for name in ANNOTATIONS]
    if split == FIFTYONE[0]:
        names.append(FIFTYONE[1])
    for name in names:
        if _is_file(root / name):
            return root / name
    if root.is_file():
        raise InputError(
            f"{root}: found a file, expected the folder of a data set (dataset.annotations, or --annotations, names an "
            "annotation file)"
        )
    there = _json_files(root)
    found = f"; found {', '.join(there[:LISTED])} in {root}" if there else ""
    raise InputError(
        f"{root / names[0]}: No such file or directory, expected a COCO annotation file there, or as Roboflow, "
        f"FiftyOne, Label Studio or CVAT place it, or named by dataset.annotations (--annotations){found}"
    )


def split_names(root: Path) -> list[str]:
    """Return the names of the splits that a data set has, sorted, in the first of the layouts that any file is in.

    Raises:
        InputError: there is none.
    """
    if (root / FIFTYONE[1]).is_file() and (root / FIFTYONE[0]).is_dir():
        return [FIFTYONE[0]]
    for name in ANNOTATIONS:
        before, _, after = name.partition("{split}")
        files = (path.relative_to(root).as_posix() for path in root.glob(f"{before}*{after}") if path.is_file())
        if found := sorted(file.removeprefix(before).removesuffix(after) for file in files):
            return found
    annotation_file(root, "train")  # which says what there is
    raise AssertionError("a layout was found that has no split")


def image_folder(root: Path, split: str, annotations: Path, names: Sequence[str], *, given: Path | None) -> Path:
    """Return the folder that the file names of a split are relative to: the first that has them all.

    Args:
        root: of the data set.
        split: its name.
        annotations: its annotation file.
        names: of the pictures, in the order of the file.
        given: the folder, where it is not to be found.

    Raises:
        InputError: pictures are missing.
    """
    folders = [given] if given is not None else list(dict.fromkeys(_image_folders(root, split, annotations)))
    missing = []
    for folder in folders:
        listings = _Listings(folder)
        missing.append([position for position, name in enumerate(names) if not listings.have(name)])
        if not missing[-1]:
            return folder
    folder, first = min(zip(folders, missing, strict=True), key=lambda pair: len(pair[1]))
    name = names[first[0]]
    spelling = other_spelling(os.path.basename(name), _Listings(folder).beside(name))
    others = f", which lacks those of {len(first) - 1} more images" if len(first) > 1 else ""
    raise InputError(
        f"{annotations}: field images[{first[0]}].file_name is {name!r}{f', {spelling}' if spelling else ''}, "
        f"expected a file in {folder}{others}"
    )


def root_of(annotations: Path) -> Path:
    """Return the folder of a data set of which nothing is known but an annotation file."""
    return annotations.parent.parent if annotations.parent.name == "annotations" else annotations.parent


def located(root: Path, given: str, field: str) -> Path:
    """Return where a path is that a user gave beside a data set's root: relative to it, or as it is, or a URI.

    Raises:
        InputError: the URI is of no use; `field` names it.
    """
    if "://" in given:
        return staging.opened(given, field)
    return Path(given) if Path(given).exists() and not _exists(root / given) else root / given


def _image_folders(root: Path, split: str, annotations: Path) -> Iterator[Path]:
    yield root / split
    yield root / "images" / split
    for inner in ("images", "data"):
        yield root / split / inner
    for folder in (annotations.parent, root):
        yield from (folder / "images", folder / "data", folder)


def _is_file(path: Path) -> bool:
    beside = staging.listed(path.parent)
    return path.is_file() if beside is None else path.name in beside


def _exists(path: Path) -> bool:
    below = staging.listed_below(path)
    return path.exists() if below is None else bool(below) or _is_file(path)


def _json_files(root: Path) -> list[str]:
    below = staging.listed_below(root)
    if below is not None:
        return [name for name in below if ".json" in name and name.count("/") <= 1]
    return sorted(
        path.relative_to(root).as_posix() for pattern in ("*.json*", "*/*.json*") for path in root.glob(pattern)
    )


class _Listings:
    """The files of a folder and those below it; one listing each, as to ask for every file is slow over a network."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, set[str]] = {}

    def have(self, name: str) -> bool:
        return os.path.basename(name) in self.beside(name)

    def beside(self, name: str) -> set[str]:
        """Return the names of the files in the folder that a file is to be in."""
        subfolder = os.path.dirname(name)
        if subfolder not in self._names:
            elsewhere = staging.listed(self._folder / subfolder)
            if elsewhere is not None:
                self._names[subfolder] = {*elsewhere}
                return self._names[subfolder]
            try:
                with os.scandir(self._folder / subfolder) as entries:
                    self._names[subfolder] = {entry.name for entry in entries if entry.is_file()}
            except OSError:
                self._names[subfolder] = set()
        return self._names[subfolder]
