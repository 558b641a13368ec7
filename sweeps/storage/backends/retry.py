"""Errors of a storage that pass by themselves are sat out for minutes; all others are raised at once."""

from __future__ import annotations

import contextlib
import contextvars
import errno
import os
import random
import re
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from sweeps.storage.backends import notices

PATIENCE_S = 300.0
"""How long a request is tried again before the storage counts as broken."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0

SAID_AFTER_S = 2.0
"""What passes sooner is not worth a word."""

Result = TypeVar("Result")

_NAMES = (
    *("EAGAIN", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "EINTR", "EIO", "ENETDOWN"),
    *("ENETRESET", "ENETUNREACH", "ENOBUFS", "ENOTCONN", "EPIPE", "EREMOTEIO", "ESHUTDOWN", "ESTALE", "ETIMEDOUT"),
)
"""Of the system: connections, and network shares whose server is away or has started again."""

_PASSING = {getattr(errno, name) for name in _NAMES if hasattr(errno, name)}

# A number of HTTP counts only where it is said to be one: sizes and names have numbers, too.
_PASSING_WORDS = re.compile(
    r"(?:status(?: code)?:? ?|http(?: status)?[ :]*)(?:408|425|429|50[0234]|509|52\d)\b"
    r"|slow.?down|throttl|too.?many.?requests|request.?limit|service.?unavailable|internal.?(?:server.?)?(?:error|failure)"
    r"|timed ?out|(?<!retry_)time.?out|network_connection|connection (?:reset|closed|refused|was|error)"
    r"|error sending request|broken pipe|incomplete ?message|server ?busy|try again|temporarily|bad gateway"
    r"|error decoding response body|end of file before message|unexpected eof",
    re.IGNORECASE,
)

_ADDRESS = re.compile(r"\w+://\S*")
"""Users name buckets and folders as they like."""

_patience = contextvars.ContextVar("patience", default=PATIENCE_S)


class RefusedError(OSError):
    """The storage answered, and will answer the same again: no permission, no such bucket, a name it does not take."""


class SilentError(RefusedError):
    """The storage did not answer for as long as anyone waited."""


class UnclearError(OSError):
    """The storage said something that cannot be true for long, such as that a file is there which is not."""


def passes(error: BaseException) -> bool:
    """Say whether trying again may help."""
    if isinstance(error, UnclearError | TimeoutError | ConnectionError):
        return True
    if isinstance(error, RefusedError | FileNotFoundError | PermissionError) or not isinstance(error, OSError):
        return False
    # Errors of the clients of object stores have no number of the system.
    return error.errno in _PASSING if error.errno else _PASSING_WORDS.search(_ADDRESS.sub("", str(error))) is not None


def patiently(place: str, action: Callable[[], Result]) -> Result:
    """Do something, again and again while it fails for reasons that pass.

    Args:
        place: where, as a user would write it; to be told.

    Raises:
        OSError: a reason that does not pass, or one that has not passed in `PATIENCE_S`.
    """
    patience = _patience.get()
    start, wait, said = time.monotonic(), FIRST_WAIT_S, False
    while True:
        try:
            result = action()
        except OSError as error:
            waited = time.monotonic() - start
            if not passes(error):
                if said and _outages.end(place):
                    notices.say(f"storage {place!r} answers again")
                raise
            if waited >= patience:
                if not said:
                    raise
                _outages.end(place)
                raise SilentError(f"{cause(error)}; tried again for {_in_words(waited)}") from error
            if not said and waited >= SAID_AFTER_S:
                said = True
                if _outages.begin(place):
                    told = _in_words(patience)
                    notices.say(f"storage {place!r} does not answer ({cause(error)}); trying again for {told}")
            # Where many wait for one storage, they must not come back all at once.
            time.sleep(min(random.uniform(wait / 2, wait), max(patience - waited, 0.05)))
            wait = min(2 * wait, LONGEST_WAIT_S)
        else:
            if said and _outages.end(place):
                notices.say(f"storage {place!r} answers again")
            return result


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Let this thread wait so long and no longer; 0: not at all."""
    before = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(before)


def cause(error: BaseException) -> str:
    """Return why Arrow, a client or the system refused, in one line."""
    number = getattr(error, "errno", None) or 0
    return os.strerror(number) if number > 0 else textwrap.shorten(str(error), 300)


class _Outages:
    """Which storages do not answer now: of many requests that wait for one, the first says so and the first that is
    answered says that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: set[str] = set()

    def begin(self, place: str) -> bool:
        """Return whether nobody has said so."""
        with self._lock:
            new = place not in self._places
            self._places.add(place)
            return new

    def end(self, place: str) -> bool:
        """Return whether nobody has said so."""
        with self._lock:
            new = place in self._places
            self._places.discard(place)
            return new


_outages = _Outages()


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
