"""How the values of one field are distributed: `{log_uniform: [1e-4, 1e-1]}`, read and drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sweeps.errors import SpecError
from sweeps.spec import numbers
from sweeps.spec.axes.sampling.sequences import normal
from sweeps.spec.mistakes import found, unknown_key

DIGITS = 6
"""Significant digits of a drawn number: enough to find it, and few enough to read. More where all numbers of an
interval begin alike, so that as many tell them apart."""

MOST_DIGITS = 17
"""Those that tell any two floats apart."""

LARGEST = 2**53
"""Beyond that a float knows not every whole number."""


class Distribution(NamedTuple):
    """Of one field's values.

    Attributes:
        name: as in a spec.
        at: returns the value at a point of (0, 1), which is a quantile but for a `choice`.
    """

    name: str
    at: Callable[[float], Any]


def distribution(given: Any, where: str) -> Distribution:
    """Read how a field's values are distributed.

    Args:
        given: a mapping of one entry, from `uniform`, `log_uniform`, `int` or `log_int` to the two ends of an interval,
            those of whole numbers included, from `normal` to mean and standard deviation, from `choice` to values.
        where: it stands, for messages.

    Raises:
        SpecError: it is none.
    """
    if not isinstance(given, Mapping) or len(given) != 1:
        raise SpecError(f"{where}: found {found(given)}, expected one of {', '.join(_READERS)}, and what it takes")
    name, argument = next(iter(given.items()))
    if name not in _READERS:
        raise SpecError(unknown_key(f"{where}.{name}", [*_READERS]))
    return Distribution(name, _READERS[name](argument, f"{where}.{name}"))


def _uniform(given: Any, where: str) -> Callable[[float], float]:
    low, high = _ends(given, where)
    digits = _digits(max(abs(low), abs(high)), high - low)
    return lambda unit: _rounded(low + unit * (high - low), low, high, digits)


def _log_uniform(given: Any, where: str) -> Callable[[float], float]:
    low, high = _ends(given, where, lowest=0.0)
    digits = _digits(high, high - low)
    return lambda unit: _rounded(low * (high / low) ** unit, low, high, digits)


def _int(given: Any, where: str) -> Callable[[float], int]:
    low, high = _whole(given, where)
    return lambda unit: min(high, low + math.floor(unit * (high - low + 1)))


def _log_int(given: Any, where: str) -> Callable[[float], int]:
    """Each whole number has the share that the interval up to the next has on a logarithmic scale."""
    low, high = _whole(given, where, lowest=0.0)
    return lambda unit: min(high, math.floor(low * ((high + 1) / low) ** unit))


def _normal(given: Any, where: str) -> Callable[[float], float]:
    if not isinstance(given, list) or len(given) != 2:
        raise SpecError(f"{where}: found {found(given)}, expected a list of mean and standard deviation")
    mean, deviation = (_number(item, f"{where}[{index}]") for index, item in enumerate(given))
    if deviation <= 0:
        raise SpecError(f"{where}[1]: found {given[1]!r}, expected a standard deviation above 0")
    digits = _digits(abs(mean), deviation)
    return lambda unit: _rounded(mean + deviation * normal(unit), -math.inf, math.inf, digits)


def _choice(given: Any, where: str) -> Callable[[float], Any]:
    if not isinstance(given, list) or not given:
        raise SpecError(f"{where}: found {found(given)}, expected a list of values")
    return lambda unit: given[min(len(given) - 1, math.floor(unit * len(given)))]


_READERS: dict[str, Callable[[Any, str], Callable[[float], Any]]] = {
    "uniform": _uniform,
    "log_uniform": _log_uniform,
    "int": _int,
    "log_int": _log_int,
    "choice": _choice,
    "normal": _normal,
}


def _ends(given: Any, where: str, *, lowest: float | None = None) -> tuple[float, float]:
    if not isinstance(given, list) or len(given) != 2:
        raise SpecError(f"{where}: found {found(given)}, expected a list of the two ends of an interval")
    low, high = (_number(item, f"{where}[{index}]") for index, item in enumerate(given))
    if lowest is not None and low <= lowest:
        raise SpecError(
            f"{where}[0]: found {given[0]!r}, expected a number above {lowest:g}, for it is drawn from logs"
        )
    if not low < high:
        raise SpecError(f"{where}: found {given[0]!r} and {given[1]!r}, expected a lower end before a higher one")
    return low, high


def _whole(given: Any, where: str, *, lowest: float | None = None) -> tuple[int, int]:
    low, high = _ends(given, where, lowest=lowest)
    for index, end in enumerate((low, high)):
        if not end.is_integer() or abs(end) > LARGEST:
            raise SpecError(f"{where}[{index}]: found {given[index]!r}, expected a whole number")
    return int(low), int(high)


def _number(given: Any, where: str) -> float:
    read = numbers.number(given)
    if not isinstance(read, int | float) or isinstance(read, bool):
        raise SpecError(f"{where}: found {found(given)}, expected {numbers.expected(given)}")
    try:
        value = float(read)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise SpecError(f"{where}: found {given!r}, expected a finite number")
    return value


def _digits(size: float, width: float) -> int:
    """Return how many digits numbers have that lie within a width, and are of a size."""
    alike = math.floor(math.log10(size / width)) if size > width else 0
    return min(MOST_DIGITS, DIGITS + alike)


def _rounded(value: float, low: float, high: float, digits: int) -> float:
    return min(high, max(low, float(f"{value:.{digits}g}")))
