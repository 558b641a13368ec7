"""Numbers written as a quotient, such as `8/255`, where a number is expected; text is left as it is elsewhere."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

_QUOTIENT = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*")


def number(given: Any) -> Any:
    """Return the number that a text such as `8/255` stands for; anything else as it is.

    >>> number("8/255") == 8 / 255
    True
    """
    parts = _QUOTIENT.fullmatch(given) if isinstance(given, str) else None
    if parts is None or not float(parts[2]):
        return given
    return float(parts[1]) / float(parts[2])


def expected(given: Any) -> str:
    """Say what is expected in place of what is no number."""
    if not isinstance(given, str) or "/" not in given:
        return "a number"
    return "a number: nothing can be divided by 0" if _QUOTIENT.fullmatch(given) else "a number, such as 0.5 or 8/255"


def with_numbers(settings: dict[str, Any], error: ValidationError) -> dict[str, Any]:
    """Return settings with numbers for quotients where a number was expected: where, pydantic says.

    Args:
        settings: as they were read; not changed.
        error: from validating them.
    """
    replaced = copy.deepcopy(settings)
    for problem in error.errors(include_url=False):
        if problem["type"] == "float_type":
            _replace(replaced, problem["loc"])
    return replaced


def _replace(settings: Any, location: Sequence[str | int]) -> None:
    """Put the number in place of the quotient at a location, which has the tags of unions too."""
    holder, key = settings, None
    for part in location:
        place = holder if key is None else holder[key]
        if (isinstance(place, list) and isinstance(part, int)) or (isinstance(place, dict) and part in place):
            holder, key = place, part
    if key is not None:
        holder[key] = number(holder[key])
