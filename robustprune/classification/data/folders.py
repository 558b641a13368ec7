"""Images in class folders, on disk or inside zip files: SPLIT/CLASS/*.jpg, as torchvision's `ImageFolder` reads them.

A split is the folder ROOT/SPLIT, the zip file ROOT/SPLIT.zip with SPLIT/CLASS/*.jpg in it, or part of one zip file ROOT
with all splits. Zip files are never extracted. Names that start with a dot are passed over, and so are folders that
operating systems leave, what has no ending of an image, and links that lead back to a folder around them.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from robustprune.classification.data.images import LabelledImages
from robustprune.core.errors import InputError
from robustprune.core.files import other_spelling
from robustprune.core.images.memory import Checked
from robustprune.core.images.reading import DAMAGED, Exif, check_checksums, picture_remarks, read_rgb
from robustprune.core.images.sharing import Contents
from robustprune.core.progress import teller

_OF_SYSTEMS = frozenset(("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"))


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """The files of a split.

    Attributes:
        source: where they are, for messages.
        folders: paths of folders, relative to the split's.
        files: paths of files, relative to the split's.
        open: opens one of the files.
    """

    source: str
    folders: frozenset[PurePosixPath]
    files: frozenset[PurePosixPath]
    open: Callable[[PurePosixPath], IO[bytes]]


def common_classes(root: Path, train: str, test: str) -> tuple[str, ...]:
    """Return the names of the class folders of two splits, sorted.

    Raises:
        InputError: there is no such split, it has fewer than two classes, one of them has no images, or the splits
            differ.
    """
    names = {}
    for split in (train, test):
        with _opened(root, split) as tree:
            names[split] = tuple(_by_class(tree))
    for split, other in ((train, test), (test, train)):
        for name in names[split]:
            if name not in names[other]:
                spelling = other_spelling(name, names[other], of=f"one of {other}")
                raise InputError(
                    f"{root}: found the class {name!r} in {split} and not in {other}"
                    f"{f', {spelling}' if spelling else ''}, expected it in both"
                )
    if len(names[train]) < 2:
        raise InputError(f"{root}: found one class, {names[train][0]!r}, expected at least two")
    return names[train]


def load(root: Path, split: str, *, image_size: int, exif: Exif = "ignore") -> LabelledImages:
    """Return a split, in the order of the images' paths, which file systems have no part in.

    Images are brought to RGB, and to squares of `image_size` pixels where they are none: resized, bilinearly, in both
    directions. With `exif` "apply" they are turned first as the orientation tag in their metadata says.

    Raises:
        InputError: there is no such split, it has no classes, one of them has no images, or an image is damaged, too
            large or of more than 16 bits per channel.
    """
    with _opened(root, split) as tree:
        by_class = _by_class(tree)
        labels = [label for label, paths in enumerate(by_class.values()) for _ in paths]
        pixels = np.empty((len(labels), image_size, image_size, 3), dtype=np.uint8)
        paths = [path for of_class in by_class.values() for path in of_class]
        found, tell = [], teller(len(paths), of="pictures read")
        pool = ThreadPoolExecutor()
        try:
            # Threads, as decoding releases Python's lock.
            read = pool.map(lambda path: _read(tree, path, image_size, exif), paths)
            for index, (of_image, checked) in enumerate(read):
                pixels[index] = of_image
                found.append(checked)
                tell(index + 1)
        finally:
            pool.shutdown(cancel_futures=True)
    return LabelledImages(
        pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
        labels=torch.tensor(labels),
        classes=tuple(by_class),
        remarks=(
            *_passed_over(tree, by_class),
            *picture_remarks([checked.kind for checked in found], tree.source, exif=exif),
        ),
        contents=Contents(tree.source, [_name(tree, path) for path in paths], [checked.sha256 for checked in found]),
        files=tuple((checked.kind.width, checked.kind.height) for checked in found),
    )


class Survey(NamedTuple):
    """What can be told of a split without decoding it: images of each class, and some of their widths and heights."""

    counts: dict[str, int]
    sizes: list[tuple[int, int]]


def survey(root: Path, split: str, *, most: int) -> Survey:
    """Count the images of a split, and look at the size of `most` of them.

    Raises:
        InputError: there is no such split, it has no classes, one of them has no images, or an image is damaged.
    """
    with _opened(root, split) as tree:
        by_class = _by_class(tree)
        paths = [path for of_class in by_class.values() for path in of_class]
        sizes = []
        for path in paths[:: -(-len(paths) // most)]:
            try:
                with tree.open(path) as file, Image.open(file) as image:
                    sizes.append(image.size)
            except DAMAGED as error:
                raise InputError(f"{tree.source}/{path}: {error}, expected an image file") from error
    return Survey({name: len(of_class) for name, of_class in by_class.items()}, sizes)


def split_names(root: Path) -> list[str]:
    """Return the names of folders, and of zip files, that may be splits, sorted.

    Raises:
        InputError: the root cannot be read.
    """
    try:
        if root.is_file():
            with zipfile.ZipFile(root) as archive:
                found = {PurePosixPath(name.replace("\\", "/")).parts[0] for name in archive.namelist()}
        else:
            found = {path.name for path in root.iterdir() if path.is_dir()}
            found |= {path.stem for path in root.iterdir() if path.suffix == ".zip"}
    except (OSError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{root}: {reason}, expected a folder or a zip file with splits of class folders") from None
    return sorted(name for name in found if not name.startswith((".", "__")))


@contextmanager
def _opened(root: Path, split: str) -> Iterator[_Tree]:
    folder, beside = root / split, root / f"{split}.zip"
    if folder.is_dir():
        yield _on_disk(folder)
    elif beside.is_file() or root.is_file():
        path = beside if beside.is_file() else root
        try:
            archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: expected a whole zip file of class folders ({error})") from error
        with archive:
            yield _in_zip(archive, path, split)
    else:
        found = ", ".join(sorted(path.name for path in root.iterdir())[:10]) if root.is_dir() else ""
        raise InputError(
            f"{root}: found {found or 'nothing'}, expected a folder {split} of class folders, or {split}.zip"
        )


def _on_disk(folder: Path) -> _Tree:
    folders: set[PurePosixPath] = set()
    files: set[PurePosixPath] = set()
    for parent, folder_names, file_names in os.walk(folder, followlinks=True):
        folder_names[:] = [name for name in folder_names if not _leads_back(Path(parent, name), folder)]
        place = PurePosixPath(Path(parent).relative_to(folder).as_posix())
        folders.update(place / name for name in folder_names)
        files.update(place / name for name in file_names)
    return _Tree(
        source=str(folder),
        folders=frozenset(folders),
        files=frozenset(files),
        open=lambda path: open(folder / path, "rb"),
    )


def _leads_back(path: Path, root: Path) -> bool:
    """Return whether `path` is a link to what holds a folder on the way from `root` to it."""
    way = (root / place for place in path.relative_to(root).parents)
    return path.is_symlink() and any(each.resolve().is_relative_to(path.resolve()) for each in way)


def _in_zip(archive: zipfile.ZipFile, source: Path, split: str) -> _Tree:
    # Names are compared and handed back to the archive, never to the file system. Some are written with backslashes.
    paths = {PurePosixPath(name.replace("\\", "/")): name for name in archive.namelist()}
    below = {path.relative_to(split): name for path, name in paths.items() if path.is_relative_to(split)}
    if not below:
        found = ", ".join(sorted({path.parts[0] for path in paths if path.parts})[:10])
        raise InputError(f"{source}: found {found or 'nothing'}, expected a folder {split} of class folders in it")
    files = frozenset(path for path, name in below.items() if not name.endswith(("/", "\\")))
    return _Tree(
        source=f"{source}/{split}",
        folders=frozenset(below).difference(files).union(*(path.parents for path in files)),
        files=files,
        open=lambda path: archive.open(below[path]),
    )


def _by_class(tree: _Tree) -> dict[str, list[PurePosixPath]]:
    """Return the images of each class, sorted."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    names = sorted(path.name for path in tree.folders if len(path.parts) == 1 and not _is_hidden(path))
    if not names:
        raise InputError(f"{tree.source}: found no folders, expected one of images for each class")
    images: dict[str, list[PurePosixPath]] = {name: [] for name in names}
    for path in sorted(tree.files, key=str):
        if len(path.parts) > 1 and path.suffix.lower() in IMG_EXTENSIONS and not _is_hidden(path):
            images[path.parts[0]].append(path)
    for name, paths in images.items():
        if not paths:
            raise InputError(
                f"{tree.source}: found no image in the class folder {name!r}, expected files that end in one of "
                f"{', '.join(IMG_EXTENSIONS)}"
            )
    return images


def _passed_over(tree: _Tree, by_class: dict[str, list[PurePosixPath]]) -> list[str]:
    """Return a sentence on files in class folders that Pillow knows by their ending, and `ImageFolder` does not."""
    taken = {path for paths in by_class.values() for path in paths}
    known = Image.registered_extensions()
    left = sorted(
        (path for path in tree.files - taken if len(path.parts) > 1 and path.suffix.lower() in known), key=str
    )
    left = [path for path in left if not _is_hidden(path)]
    if not left:
        return []
    return [
        f"{tree.source}: {len(left)} files, such as {left[0]}, are passed over, as torchvision's ImageFolder does not "
        "take their endings for those of images"
    ]


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part in _OF_SYSTEMS for part in path.parts)


def _name(tree: _Tree, path: PurePosixPath) -> str:
    return f"{tree.source}/{path}"


def _read(tree: _Tree, path: PurePosixPath, image_size: int, exif: Exif) -> tuple[NDArray[np.uint8], Checked]:
    name = _name(tree, path)
    try:
        with tree.open(path) as file:
            content = file.read()
    except DAMAGED as error:
        raise InputError(f"{name}: {error}, expected an image file") from error
    rgb, kind = read_rgb(io.BytesIO(content), name, exif=exif)
    check_checksums(content, name)
    if rgb.size != (image_size, image_size):
        rgb = rgb.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(rgb), Checked(kind, hashlib.sha256(content).hexdigest())
