"""Standard output and error that never end a command: what cannot be shown is replaced, what cannot be written is lost.

A reader that left, as in `sweeps run … | head`, a full disk and a terminal that is gone are nothing to a sweep.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any

OUTPUT, ERRORS = 1, 2

_QUIET = (errno.EPIPE, errno.EBADF)
"""Whoever was to read does not want to, and knows."""


def settle() -> None:
    """Make the streams of this process such; call it first, and once. Streams that something else has put there stay.

    Descriptors 0 to 2 that are closed would be given to the next files that are opened, rows among them: what is
    printed would be written into those.
    """
    for number in (0, OUTPUT, ERRORS):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # this one is the lowest that is free
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BytesIO())
    for name, number in (("stdout", OUTPUT), ("stderr", ERRORS)):
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__"):
            continue
        new = lasting(stream, number)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def failure() -> OSError | None:
    """Return why something could not be printed on standard output, unless its reader does not want it."""
    output: Any = sys.stdout
    output.flush()
    raw = getattr(getattr(output, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, _Lasting) and raw.error and raw.error.errno not in _QUIET else None


class _Lasting(io.FileIO):
    """A descriptor that takes everything, and loses what comes after the first failure."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                written = super().write(data)
                while written is None:  # somebody has made a pipe such that it does not wait for its reader
                    select.select([], [self], [])
                    written = super().write(data)
                return written
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes


def lasting(stream: Any, number: int) -> io.TextIOWrapper:
    """Return such a stream in the place of one that writes to a descriptor; None stands for one that is closed."""
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(_Lasting(os.devnull, "w")), encoding="utf-8", errors="replace")
    stream.flush()
    # What Python does in a C locale, keep what it could not read, fails for everything else.
    errors = "replace" if stream.errors in ("strict", "surrogateescape") else stream.errors
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(number, "w", closefd=False)),
        encoding=stream.encoding,
        errors=errors,
        # What was not buffered at all, as with PYTHONUNBUFFERED, must not wait for more than the end of a line.
        line_buffering=stream.line_buffering or stream.write_through or number == ERRORS,
        write_through=stream.write_through,
    )
