"""The first signal ends a run in good order, another at once, and nothing that is ignored is heeded."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.support.processes import ROOT, heed_hang_ups

RUN = """
import sys, time
from sweeps.reporting.terminal import interrupts

interrupts.LASTS_AT_MOST_S = float(sys.argv[1])
try:
    with interrupts.heeded():
        try:
            print("runs", flush=True)
            time.sleep(60)
        finally:
            print("ends", flush=True)
            time.sleep(float(sys.argv[2]))
            raise ConnectionError("as Ray does, where its processes had the signal too")
except interrupts.Interrupted as interrupted:
    sys.exit(interrupted.status)
"""


AT_ONCE = "Stopped at once. Finished rows are published; the same command resumes."


def start(*, patience_s: float = 60, ends_in_s: float = 0, nohup: bool = False) -> subprocess.Popen[str]:
    """Start a run that ends in so many seconds once it is interrupted; return it when it has begun."""
    command = [sys.executable, "-c", RUN, str(patience_s), str(ends_in_s)]
    process = subprocess.Popen(
        ["nohup", *command] if nohup else command,
        preexec_fn=heed_hang_ups,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "runs\n"
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors.split("\n")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_ends_a_run_in_good_order(how: signal.Signals) -> None:
    process = start(ends_in_s=0.3)
    process.send_signal(how)
    time.sleep(0.1)
    process.send_signal(how)  # as `timeout` does, which tells a process and then its group
    again = " Press Ctrl-C again to stop at once." if how == signal.SIGINT else ""
    assert ended(process) == (128 + how, ["", f"Stopping.{again}", ""])


def test_another_ends_it_at_once() -> None:
    process = start(ends_in_s=60)
    process.send_signal(signal.SIGINT)
    time.sleep(1.2)
    process.send_signal(signal.SIGINT)
    status, errors = ended(process)
    assert status == 130
    assert errors[-2:] == [AT_ONCE, ""]
    assert "Traceback" not in "".join(errors)


def test_an_end_that_takes_too_long_comes_at_once() -> None:
    process = start(ends_in_s=60, patience_s=0.2)
    process.send_signal(signal.SIGTERM)
    status, errors = ended(process)
    assert status == 143
    assert errors[-2:] == [AT_ONCE, ""]


def test_nohup_is_respected() -> None:
    process = start(nohup=True)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143
