"""How far a long computation has come: kept by whoever asked for it, so that after a crash it goes on from there; and
told to whoever waits.

What a state holds is the business of the computation (`training_state`), where it lies that of the keeper.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, SupportsFloat

if TYPE_CHECKING:
    from robustprune.core.arrays import Arrays


class Progress(Protocol):
    """Keeps the latest state of one piece of work."""

    @property
    def is_due(self) -> bool:
        """Whether a state is wanted now, though no step of the work's own is finished: the last one was long ago."""

    def load(self) -> Arrays | None:
        """Return the state last saved for this very piece of work; None if there is none."""

    def save(self, state: Callable[[], Arrays]) -> None:
        """Take note of a moment from which work can go on.

        `state` is called at once or not at all: the keeper skips a moment where saving would cost too much time.
        """

    def report(self, done: float, of: float, unit: str = "epoch", **measured: SupportsFloat) -> None:
        """Take note of how far the work is, `done` of `of`, and of what was measured of late, such as `loss`.

        May be called after every step: numbers are looked at only where someone is told.
        """


class Nowhere:
    """Keeps nothing."""

    is_due = False

    def load(self) -> None:
        """Return None."""

    def save(self, state: Callable[[], Arrays]) -> None:
        """Do nothing."""

    def report(self, done: float, of: float, unit: str = "epoch", **measured: SupportsFloat) -> None:
        """Do nothing."""


NOWHERE = Nowhere()


def reporter(progress: Progress) -> Callable[..., None]:
    """Return `progress.report`; what does nothing for a keeper of before there was such a method."""
    return getattr(progress, "report", NOWHERE.report)


PATIENCE = 5.0
"""Seconds between two words about progress."""


def teller(total: int, *, of: str) -> Callable[[int], None]:
    """Return a function that says on stderr how much is done, if it has been silent for long.

    Args:
        total: number of things to be done.
        of: what they are, such as `images`.
    """
    spoken = time.monotonic()

    def tell(done: int) -> None:
        nonlocal spoken
        if time.monotonic() - spoken > PATIENCE:
            spoken = time.monotonic()
            print(f"{done} of {total} {of}", file=sys.stderr, flush=True)

    return tell
