"""What ends a run from outside: Ctrl-C, and the signals of a batch system or of a terminal that goes away.

The first ends it in good order, whichever it is; another, a moment later, at once. All that is finished stays anyway.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

SAME_S = 1.0
"""Seconds within which further signals are the same: `timeout` and terminals send to a process and to its group."""

LASTS_AT_MOST_S = 15.0
"""How long ending in good order may take: Ray, or a storage, may not answer. Batch systems kill after 30 seconds."""

RESUMES = "Finished rows are published; the same command resumes."

_STOPPING = "Stopping."
_AGAIN = " Press Ctrl-C again to stop at once."
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupted(Exception):  # noqa: N818 (an interrupt is no error)
    """A signal ended the run; `status` is what the process exits with."""

    def __init__(self, number: int) -> None:
        """Take the signal."""
        super().__init__(number)
        self.status = 128 + number


@contextmanager
def heeded() -> Iterator[None]:
    """End what runs in this context by a KeyboardInterrupt at the first signal, and raise `Interrupted` when it has.

    From the first on, also after this context, another signal ends the process. What is ignored, as by `nohup`, stays
    ignored.

    Raises:
        Interrupted: a signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, float]] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if not came:
            came.append((number, time.monotonic()))
            _say(_STOPPING + (_AGAIN if number == signal.SIGINT else ""))
            threading.Thread(target=_lose_patience, args=(number,), daemon=True).start()
            raise KeyboardInterrupt
        if time.monotonic() - came[0][1] > SAME_S:
            _end(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    except BaseException:
        # Whatever it has become on the way: Ray's processes may have had the signal too, and be gone.
        if not came:
            raise
        raise Interrupted(came[0][0]) from None
    finally:
        if not came:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)


def _lose_patience(number: int) -> None:
    time.sleep(LASTS_AT_MOST_S)
    _end(number)


def _end(number: int) -> None:
    """End without a word from Python or Ray, whose other processes end with this one."""
    _say(f"Stopped at once. {RESUMES}")
    os._exit(128 + number)


def _say(sentence: str) -> None:
    # Not with a stream, which this very thread may be writing to. A live view may have hidden the cursor.
    cursor = _SHOW_CURSOR if sys.stdout.isatty() else b""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), cursor + f"\n{sentence}\n".encode())
