"""How long work usually takes, pauses apart, and durations in words.

A clock goes on while a laptop sleeps, a process is stopped, or nobody has started the sweep again yet.
"""

from __future__ import annotations

from collections.abc import Sequence

TIMES_LONGER, LONGER_S = 20, 600.0
"""What takes so many times as long as all that is shorter, and so many seconds at least, had a pause in it."""

_MINUTE, _HOUR = 60, 3600


def without_pauses(seconds: Sequence[float]) -> list[float]:
    """Return durations in rising order, but those with a pause in them.

    They are a quarter at most, or one of two or three: many that take long are of another kind, not interrupted.
    """
    rising = sorted(seconds)
    for paused in range(max(1, len(rising) // 4), 0, -1):
        kept = rising[:-paused]
        if kept and rising[-paused] > max(LONGER_S, TIMES_LONGER * kept[-1]):
            return kept
    return rising


def in_words(seconds: float) -> str:
    """Return about how long that is: `40 seconds`, `5 minutes`, `3 h 20 min`, `2 d 3 h`."""
    if seconds < 1.5 * _MINUTE:
        return "1 second" if round(seconds) == 1 else f"{seconds:.0f} seconds"
    minutes = round(seconds / _MINUTE)
    if minutes < 90:
        return f"{minutes} minutes"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / _HOUR)
    return f"{hours // 24} d {hours % 24} h"
