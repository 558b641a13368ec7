"""The browser of the tests leaves nothing behind, even if it does not end when asked."""

import time
from pathlib import Path

import pytest

from tests.support import browser
from tests.support.browser import Browser

pytestmark = pytest.mark.slow


def test_what_a_browser_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "PATIENCE_S", 0.5)
    program, child = tmp_path / "stubborn", tmp_path / "child"
    program.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {child}.new\nmv {child}.new {child}\nwait\n")
    program.chmod(0o755)
    with Browser(str(program), tmp_path):
        while not child.exists():
            time.sleep(0.01)
    state = Path("/proc", child.read_text().strip(), "stat")
    # Killed, it is gone, or waits for whoever adopted it to notice.
    deadline = time.monotonic() + 5
    while state.exists() and state.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "the child is still running"
        time.sleep(0.05)
