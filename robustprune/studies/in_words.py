"""Data, attacks and trainings of any task in a few words, for readers who have the results alone; see `Study.facts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from robustprune.core.settings import Settings
from sweeps.study import DataTable

_TOLD_ELSEWHERE = ("name", "root", "train_images", "val_images", "test_images", "image_size")
"""Fields of a data set: where it lies is nobody's affair, and its images are counted."""

MOST_NAMES = 20

MOST_CLASSES = 12
"""Lines of a table of classes, at most, before the others share one."""


def data(dataset: Settings) -> str:
    """Return a data set's name and what was set of it: `coco, train train2017, seed 0`."""
    return _in_words(dataset, without=_TOLD_ELSEWHERE)


def attack(settings: Settings) -> str:
    """Return an attack's name and what was set of it: `pgd, epsilon 0.05, step size 0.02, steps 5`."""
    return _in_words(settings, without=("name",))


def images(train: int, measured: int, *, size: tuple[int, int]) -> str:
    """Return how many images there are of each split, and their height and width as the networks see them."""
    height, width = size
    return f"{train:,} to train on, {measured:,} others to measure on, {width} × {height} pixels"


def classes(names: Sequence[str]) -> str:
    """Return how many classes there are, and the first of them."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{len(names)}: {', '.join(names[:MOST_NAMES])}{more}"


def class_table(names: Sequence[str], counted: Mapping[str, Sequence[int]], *, of: str) -> DataTable:
    """Return how much there is of each class, the commonest first, and of the rarest together.

    Args:
        names: of the classes.
        counted: under each heading a number per class; the first decides which is the commonest.
        of: what is counted, in the plural.
    """
    order = sorted(range(len(names)), key=lambda class_: [-column[class_] for column in counted.values()])
    shown = order if len(names) <= MOST_CLASSES + 1 else order[:MOST_CLASSES]
    lines: list[Sequence[str | int]] = [[names[each], *(column[each] for column in counted.values())] for each in shown]
    if rest := order[len(shown) :]:
        lines.append([f"{len(rest)} others", *(sum(column[each] for each in rest) for column in counted.values())])
    return DataTable(f"classes: {len(names)}, {of} of each", ["", *counted], lines)


def listed(names: Sequence[str]) -> str:
    """Return some of the names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 6 else ""
    return ", ".join(names[: 5 if more else 6]) + more


def epochs(**of: int | None) -> str:
    """Return the epochs of each training that there is."""
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in of.items() if count is not None)


def _in_words(settings: Settings, *, without: Sequence[str]) -> str:
    name = str(getattr(settings, "name", type(settings).__name__))
    said = [
        f"{field.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{field.replace('_', ' ')} {value}"
        for field, value in settings.model_dump(mode="json").items()
        if field not in without and value is not None and value is not False and not isinstance(value, dict | list)
    ]
    return ", ".join([name, *(each.removesuffix(" True") for each in said)])
