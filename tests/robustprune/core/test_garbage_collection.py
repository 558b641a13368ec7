"""A pause ends as it began, whatever happens in it."""

import contextlib
import gc

from robustprune.core.garbage_collection import paused


def test_a_pause_ends_with_its_block() -> None:
    with contextlib.suppress(KeyError), paused():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_a_pause_within_a_pause_does_not_end_it() -> None:
    with paused():
        with paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
