"""How far a long computation has come, kept by whoever asked for it, so that after a crash it goes on from there.

What a state holds is the business of the computation (`training_state`), where it lies that of the keeper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

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


class Nowhere:
    """Keeps nothing."""

    is_due = False

    def load(self) -> None:
        """Return None."""

    def save(self, state: Callable[[], Arrays]) -> None:
        """Do nothing."""


NOWHERE = Nowhere()
