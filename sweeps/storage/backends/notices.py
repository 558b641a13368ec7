"""What a user should hear of a storage while it is used, such as that it does not answer now."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

_log = logging.getLogger("sweeps.storage")
_listeners: list[Callable[[str], None]] = []
_said: set[str] = set()


def say(sentence: str) -> None:
    """Tell whoever listens; where nobody does, such as on a worker, write it to the log.

    Any thread may say something, also while another listens.
    """
    for listener in [*_listeners[-1:]] or [_log.warning]:
        listener(sentence)


def say_once(sentence: str) -> None:
    """Tell what many look at, and what this process has not been told before."""
    if sentence not in _said:
        _said.add(sentence)
        say(sentence)


@contextlib.contextmanager
def listen(listener: Callable[[str], None]) -> Iterator[None]:
    """Have sentences told to `listener`, which may be called from any thread."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
