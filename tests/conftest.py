"""How a test run ends."""

import os
import sys

import pytest

_STATUS = pytest.StashKey[int]()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave with the status of the tests, without taking the interpreter down, where Ray has run in this process.

    Threads of its core outlive its shutdown, and one of them once crashed a process whose tests had all passed.
    """
    if "ray" not in sys.modules or _STATUS not in config.stash:
        return
    sys.modules["ray"].shutdown()
    config.get_terminal_writer().flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(config.stash[_STATUS])
