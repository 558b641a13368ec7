"""Data, attacks and trainings of any task in a few words, for readers who have the results alone; see `Study.facts`."""

from __future__ import annotations

from collections.abc import Sequence

from robustprune.core.settings import Settings

_TOLD_ELSEWHERE = ("name", "root", "train_images", "val_images", "test_images", "image_size")
"""Fields of a data set: where it lies is nobody's affair, and its images are counted."""

MOST_NAMES = 20


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
