"""The command line run in the process of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    status: int
    output: str
    errors: str


Sweeps = Callable[..., Ran]
"""Of the fixture `sweeps`, which takes the arguments of a command."""


def assert_refused(ran: Ran, *words: str) -> None:
    """One sentence on standard error that has these words, nothing else said, exit status 2."""
    assert ran.status == 2
    assert ran.output == ""
    assert ran.errors.startswith("Error: ")
    assert ran.errors.count("\n") == 1
    assert "Traceback" not in ran.errors
    for word in words:
        assert word in ran.errors
