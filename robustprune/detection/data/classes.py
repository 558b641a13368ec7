"""Which category of a data set is which class of a detector: by name where the detector's names are known.

Reading annotations is in `coco`; a class is an index into a split's categories, in whatever order these are.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from robustprune import staging
from robustprune.core.errors import InputError
from robustprune.core.files import mistaken_for
from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.coco_json import CategoryRecord

# VOC's spellings, which Darknet's coco.names kept, and COCO's own.
_OLD = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "tvmonitor": "tv",
}


class Arranged(NamedTuple):
    """Splits whose classes are a detector's, and what was done for that, in sentences."""

    splits: tuple[CocoSplit, ...]
    remarks: tuple[str, ...]


def read_names(source: str | Sequence[str], field: str) -> tuple[str, ...]:
    """Return the names of a detector's classes, in its order.

    Args:
        source: a Darknet `.names` file, a name per line, or the names.
        field: where `source` stands, for messages.

    Raises:
        InputError: the file cannot be read, or a name is empty or there twice.
    """
    if isinstance(source, str):
        path, field = staging.local(source, field), f"{field}: {source}"
        try:
            content = path.read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"{field}: {reason}, expected a file with the name of a class in each line") from None
        if what := mistaken_for(content):
            raise InputError(f"{field}: found {what}, expected the name of a class in each line")
        try:
            names = [line.strip() for line in content.decode("utf-8-sig").rstrip().splitlines()]
        except UnicodeDecodeError:
            raise InputError(f"{field}: found text in another encoding, expected names in UTF-8") from None
        if any("\0" in name for name in names):
            raise InputError(f"{field}: found text in another encoding, expected names in UTF-8")
    else:
        names = [name.strip() for name in source]
    if not names:
        raise InputError(f"{field}: found no name, expected one for each of the detector's classes")
    known: set[str] = set()
    for number, name in enumerate(names, start=1):
        if not name:
            raise InputError(f"{field}: name {number} of {len(names)} is empty, expected one for each class")
        if name in known:
            raise InputError(f"{field}: found {name!r} twice, expected another name for each class")
        known.add(name)
    return tuple(names)


def by_name(splits: Sequence[CocoSplit], names: Sequence[str]) -> Arranged:
    """Return splits of the same categories with their classes in the order of a detector's `names`.

    Spelling decides, then spelling without blanks, capitals and COCO's older names. A class that is no category stays,
    without objects: what is found of it counts nowhere. A category that is no class leaves if it owns nothing.

    Raises:
        InputError: a category with objects is no class, or two of them are the same one.
    """
    categories = splits[0].categories
    class_of = _matched(categories, names, splits)
    taken = {class_: category for category, class_ in class_of.items()}
    free = iter(range(1 + max((category.id for category in categories), default=0), 2**62))
    arranged = tuple(
        taken[class_] if class_ in taken else CategoryRecord(next(free), name) for class_, name in enumerate(names)
    )
    table = np.array([class_of.get(category, -1) for category in categories], dtype=np.int64)
    remarks = []
    missing = [name for class_, name in enumerate(names) if class_ not in taken]
    if missing:
        remarks.append(
            f"{splits[0].source}: of the detector's {len(names)} classes {len(missing)} are no category there, such as "
            f"{missing[0]!r}: what is found of them counts for nothing"
        )
    left = [category for category in categories if category not in class_of]
    if left:
        remarks.append(f"{splits[0].source}: {_listed(left)} of no object and no class of the detector, left out")
    added = tuple(category for class_, category in enumerate(arranged) if class_ not in taken)
    found = (dataclasses.replace(_with(split, arranged, table), added=added) for split in splits)
    return Arranged(tuple(found), tuple(remarks))


def without_groups(*splits: CocoSplit) -> tuple[CocoSplit, ...]:
    """Return splits of the same categories without those that are only others' supercategory and own no object.

    Exports of some tools begin with one, which no detector learns. What left is in `CocoSplit.groups`.
    """
    categories, owning = splits[0].categories, _owning(splits)
    above = [category.supercategory for category in categories if category.supercategory != category.name]
    groups = tuple(
        category for class_, category in enumerate(categories) if category.name in above and class_ not in owning
    )
    kept = tuple(category for category in categories if category not in groups)
    if not groups or not kept:
        return splits
    places = {category: place for place, category in enumerate(kept)}
    table = np.array([places.get(category, -1) for category in categories], dtype=np.int64)
    return tuple(dataclasses.replace(_with(split, kept, table), groups=groups) for split in splits)


def groups_remark(split: CocoSplit) -> str | None:
    """Return a sentence on what `without_groups` left out, if it was anything."""
    if not split.groups:
        return None
    return f"{split.source}: {_listed(split.groups)} only the supercategory of others and of no object, left out"


def paired_by_position(split: CocoSplit) -> str:
    """Return the sentence that says so."""
    first, last = split.categories[0].name, split.categories[-1].name
    return (
        f"{split.source}: the detector's classes are paired with the categories by position, in the order of their "
        f"ids, from {first!r} to {last!r}; the names of its classes would match them by name"
    )


def _matched(
    categories: Sequence[CategoryRecord], names: Sequence[str], splits: Sequence[CocoSplit]
) -> dict[CategoryRecord, int]:
    """Return the class of each category that is one."""
    exact = {name: class_ for class_, name in enumerate(names)}
    alike: dict[str, list[int]] = {}
    for class_, name in enumerate(names):
        alike.setdefault(_plain(name), []).append(class_)
    owning = _owning(splits)
    class_of: dict[CategoryRecord, int] = {}
    for index, category in enumerate(categories):
        candidates = [exact[category.name]] if category.name in exact else alike.get(_plain(category.name), [])
        if len(candidates) == 1:
            class_of[category] = candidates[0]
        elif index in owning:
            found = "several" if candidates else "none"
            raise InputError(
                f"{splits[0].source}: found the category {category.name!r}, expected one of the detector's classes "
                f"({', '.join(names[:5])}{', …' if len(names) > 5 else ''}), and {found} has that name"
            )
    twice: dict[int, CategoryRecord] = {}
    for category, class_ in class_of.items():
        if class_ in twice:
            raise InputError(
                f"{splits[0].source}: found the categories {twice[class_].name!r} and {category.name!r}, expected one "
                f"that is the detector's class {names[class_]!r}"
            )
        twice[class_] = category
    return class_of


def _owning(splits: Sequence[CocoSplit]) -> set[int]:
    """Return the classes that have an object."""
    return set(np.unique(np.concatenate([split.objects.classes for split in splits])).tolist())


def _with(split: CocoSplit, categories: tuple[CategoryRecord, ...], table: np.ndarray) -> CocoSplit:
    """Return a split with other categories, `table[c]` being the class of what was class c."""
    objects = split.objects._replace(classes=table[split.objects.classes])
    return dataclasses.replace(split, categories=categories, objects=objects)


_Name = TypeVar("_Name", bound=str)


def in_both(wanted: Sequence[_Name], names: Sequence[str]) -> list[_Name]:
    """Return those of the names wanted that are among others, in whatever spelling."""
    alike = {_plain(name) for name in names}
    return [name for name in wanted if _plain(name) in alike]


def _plain(name: str) -> str:
    """Return what two spellings of a name have in common."""
    bare = re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name)).casefold()
    return _OLD.get(bare, bare)


def _listed(categories: Sequence[CategoryRecord]) -> str:
    names = ", ".join(repr(category.name) for category in categories[:5])
    more = f" and {len(categories) - 5} more" if len(categories) > 5 else ""
    return (
        f"the categor{'y' if len(categories) == 1 else 'ies'} {names}{more} {'is' if len(categories) == 1 else 'are'}"
    )
