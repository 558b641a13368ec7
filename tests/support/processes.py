"""Real `sweeps` processes for tests: started, watched, killed, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180


def start(*arguments: str, output: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start `sweeps ARGUMENTS` in a session of its own, from the repository's root."""
    return subprocess.Popen(
        [sys.executable, "-m", "sweeps", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_hang_ups,
    )


def heed_hang_ups() -> None:
    """Have a new process end when its terminal goes away, though the tests may run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def run(*arguments: str, status: int = 0) -> str:
    """Run `sweeps ARGUMENTS` to its end and return what it printed."""
    process = start(*arguments)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == status, output
    return output


def kill_with_its_ray(process: subprocess.Popen[str]) -> None:
    """SIGKILL a driver, and wait until the Ray it started is gone as well."""
    members = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for member in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    wait_until(lambda: not any(alive(member) for member in members), "the killed driver's processes to end")


def descendants(pid: int) -> list[int]:
    """Return the processes below `pid`, all generations."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, front = [], [pid]
    while front:
        children = [child for parent in front for child in parents.get(parent, [])]
        found += children
        front = children
    return found


def alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until a condition holds; fail the test if it does not within patience."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.05)


def command(pid: int) -> str:
    """Return a process's command line as it shows itself; empty if it is gone."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""
