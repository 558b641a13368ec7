"""Stages at work: how far each is by what it reports, how long that takes yet, and all that in words.

Who is told, and how it gets there, is the engine's business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sweeps.planning.durations import in_words

OLD_S = 60.0
"""What was heard so long ago is shown with its age: its process may be gone."""


WORTH_TELLING_S = 0.5
"""Less time is not said to be left."""


class UnderWay(NamedTuple):
    """A stage that is computed at this moment.

    Attributes:
        stage: its name.
        trial: the label of the trial that computes it.
        row: the value of the row axis, in words; empty where the stage is shared.
        unit: of which it has done some, such as `epoch`.
        done: of `of`; 2.5 says that it is within the third.
        of: in all.
        measured: what it says of itself, such as its `loss`.
        each_s: seconds per unit so far; None before that is known.
        age_s: seconds since it said so.
    """

    stage: str
    trial: str
    row: str
    unit: str
    done: float
    of: float
    measured: Mapping[str, float]
    each_s: float | None = None
    age_s: float = 0.0

    @property
    def name(self) -> str:
        """What it is called among others of its sweep."""
        return ", ".join(filter(None, (self.trial, self.row)))

    @property
    def left_s(self) -> float | None:
        """Seconds until all units are done, at the pace so far; None before that is known."""
        return None if self.each_s is None else max(0.0, (self.of - self.done) * self.each_s - self.age_s)


def recorded(said: Any) -> UnderWay | None:
    """Return what a record of one says; None where that is no such record, whatever a later version adds to it."""
    if not isinstance(said, Mapping):
        return None
    try:
        stage, trial, row, unit = (str(said[name]) for name in ("stage", "trial", "row", "unit"))
        done, of, age_s = (float(said[name]) for name in ("done", "of", "age_s"))
        measured = {str(name): float(value) for name, value in said["measured"].items()}
        each_s = None if said["each_s"] is None else float(said["each_s"])
        return UnderWay(stage, trial, row, unit, done, of, measured, each_s, age_s)
    except (KeyError, AttributeError, TypeError, ValueError):
        return None


def in_short(one: UnderWay) -> str:
    """Return how far it is: `epoch 3 of 10, loss 0.532, 12 s each, 2 minutes left`."""
    parts = [f"{one.unit} {_place(one)}"]
    parts += [f"{name} {_number(value)}" for name, value in one.measured.items()]
    if one.each_s is not None:
        parts.append(f"{_brief(one.each_s)} each")
    if (left_s := one.left_s or 0.0) >= WORTH_TELLING_S:
        parts.append(f"{in_words(left_s)} left")
    if one.age_s >= OLD_S:
        parts.append(f"as of {in_words(one.age_s)} ago")
    return ", ".join(parts)


def summed_up(several: Sequence[UnderWay]) -> str:
    """Return how far several are, a phrase for each kind: `9 × train: epoch 1 to 3 of 5, loss 0.1 to 0.5, at most 40
    seconds left`.
    """
    kinds: dict[tuple[str, str], list[UnderWay]] = {}
    for one in several:
        kinds.setdefault((one.stage, one.unit), []).append(one)
    return "; ".join(_of_a_kind(stage, unit, alike) for (stage, unit), alike in kinds.items())


def _of_a_kind(stage: str, unit: str, alike: Sequence[UnderWay]) -> str:
    if len(alike) == 1:
        return f"{stage}: {in_short(alike[0])}"
    places, of = (sorted(map(number, alike)) for number in (_current, lambda one: one.of))
    parts = [f"{unit} {_range([*map(_whole, places)])} of {_range([*map(_whole, of)])}"]
    for name in dict.fromkeys(name for one in alike for name in one.measured):
        values = sorted((one.measured[name] for one in alike if name in one.measured), key=_nan_last)
        parts.append(f"{name} {_range([_number(value) for value in values])}")
    if (left_s := max(one.left_s or 0.0 for one in alike)) >= WORTH_TELLING_S:
        parts.append(f"at most {in_words(left_s)} left")
    return f"{len(alike)} × {stage}: {', '.join(parts)}"


def _nan_last(value: float) -> tuple[bool, float]:
    return math.isnan(value), value


def _range(rising: Sequence[str]) -> str:
    return rising[0] if rising[0] == rising[-1] else f"{rising[0]} to {rising[-1]}"


def _current(one: UnderWay) -> int:
    """Return the unit that is at work, or was finished just now; they count from 1."""
    return max(1, math.ceil(one.done))


def _place(one: UnderWay) -> str:
    finished = " done" if one.done and one.done == _current(one) else ""
    return f"{_current(one):,} of {_whole(one.of)}{finished}"


def _whole(number: float) -> str:
    return f"{number:,.0f}" if number == round(number) else f"{number:g}"


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.3g}"


def _brief(seconds: float) -> str:
    """Return `12 ms`, `1.2 s`, `45 s`, `5 minutes`."""
    if seconds < 0.1:
        return f"{1000 * seconds:.2g} ms"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 90 else in_words(seconds)
