"""What fits data of any size: batches, epochs, and how many images a first curve needs; and the settings of a user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from robustprune.core.errors import InputError

Model = TypeVar("Model", bound=BaseModel)

SEEDS = (0, 1, 2)
RATIOS = (0, 0.5, 0.75, 0.9)

SEEDS_NOTE = (
    "Three show whether a difference may be more than chance; `sweeps power` says how many would tell. More can be "
    "added later, and nothing that is finished is computed again."
)
RATIOS_NOTE = "Few first: others can be added later, as can methods and structures."


class Machine(NamedTuple):
    """What a first curve may take on a machine: images to train and to measure on, side of an image in pixels."""

    images: int
    measured: int
    side: int
    name: str


def batch_for(images: int, *, most: int) -> int:
    """Return a batch size: `most`, or fewer where that would be an epoch of less than four steps."""
    return max(2, min(most, images // 4))


def epochs_for(steps: int, *, images: int, batch_size: int, least: int, most: int) -> int:
    """Return the epochs in which about so many steps are made, within limits."""
    return max(least, min(most, round(steps / -(-images // batch_size))))


def epochs_note(steps: int, *, images: int, batch_size: int, least: int, most: int) -> str:
    """Return the rule in words."""
    return (
        f"About {steps} steps, of which {images:,} images in batches of {batch_size} make {-(-images // batch_size)} "
        f"an epoch; never under {least} epochs or over {most}."
    )


def part(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the settings that a user chose inside a field, if they are a mapping."""
    found = given.get(name)
    return dict(found) if isinstance(found, Mapping) else {}


def named_where_elsewhere(source: str, splits: str) -> None:
    """Refuse to look for the splits of what is in a bucket.

    Args:
        source: of the data, a path or a URI.
        splits: options that name them.

    Raises:
        InputError: it is a URI.
    """
    if "://" in source:
        raise InputError(f"found a URI, in which no splits are looked for, expected {splits} beside it")


def valid(model: type[Model], settings: Mapping[str, Any], field: str) -> Model:
    """Return settings that are needed before all of them are there.

    Raises:
        InputError: one of them is wrong.
    """
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join([field, *map(str, first["loc"])])
        if first["type"] == "extra_forbidden":
            raise InputError(f"{path}: unknown key, expected one of {', '.join(model.model_fields)}") from error
        raise InputError(f"{path}: found {first['input']!r}; {first['msg'][:1].lower()}{first['msg'][1:]}") from error
