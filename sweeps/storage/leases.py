"""Leases: which run works on what, so that two runs on one storage never compute the same thing at once.

A run keeps a heartbeat file, and one empty file per piece of work it claims. To claim, a run writes its own file and
then looks: where another living run has claimed the same, it takes its file back. Of two runs that claim at the same
moment at least one sees the other, so they never both go on, and all this needs of a storage is that it lists what was
written: no locks, no clocks that agree. An abandoned claim needs no handing over: it is one whose run is dead.

A lease saves work; it does not guard data. A run that slept through its own death computes something a second time, and
publishing keeps the first result.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from sweeps.errors import StorageError
from sweeps.storage.files import Files

FOLDER = ".leases"
"""Beside `checkpoints` and the sweeps; hidden: no sweep can have its name. Safe to delete while nothing runs."""

BEAT_EVERY_S = 10.0
ABANDONED_AFTER_S = 60.0
"""Seconds without a heartbeat, by the observer's own clock, after which a run counts as dead."""


class Run(NamedTuple):
    """A run at work on a storage. `machine` and `started` tell whether a process id is still the same process."""

    sweep: str
    host: str
    pid: int
    machine: str | None
    started: str | None

    def is_gone(self) -> bool:
        """Say whether this is known at once: the run was on this machine, and its process is not there any more."""
        return self.machine is not None and self.machine == _machine() and self.started != _started(self.pid)


class Leases:
    """The claims of one run, held from entering this context to leaving it."""

    def __init__(
        self,
        files: Files,
        sweep: str,
        *,
        beat_every_s: float = BEAT_EVERY_S,
        abandoned_after_s: float = ABANDONED_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the storage, and the sweep that is run."""
        self._files, self._clock = files, clock
        self._beat_every_s, self._abandoned_after_s = beat_every_s, abandoned_after_s
        self._id = uuid.uuid4().hex[:12]
        self._me = Run(sweep, socket.gethostname(), os.getpid(), _machine(), _started(os.getpid()))
        self._mine: set[str] = set()
        self._runs: dict[str, Run] = {}
        self._heartbeats: dict[str, tuple[int | None, float]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="heartbeat", daemon=True)

    def __enter__(self) -> Leases:
        """Begin to beat."""
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give everything back."""
        self._ended.set()
        self._thread.join()
        # A storage that fails now must not hide why the run ends; what stays behind counts as abandoned.
        with contextlib.suppress(StorageError):
            self.release(self._mine.copy())
            self._files.delete(f"{FOLDER}/runs/{self._id}.json")

    def taken(self) -> dict[str, Run]:
        """Return what other living runs have claimed, and by whom. Clears away what dead runs left."""
        hearts: dict[str, int | None] = {}
        claims: list[tuple[str, str]] = []
        for file in self._files.list(FOLDER, recursive=True):
            folder, _, name = file.name.partition("/")
            if folder == "runs":
                hearts[name.removesuffix(".json")] = file.modified_ns
            else:
                work, _, run = name.rpartition("@")
                claims.append((work, run))
        living = {run for run, beat in hearts.items() if run != self._id and self._is_alive(run, beat)}
        for work, run in claims:
            if run != self._id and run not in living:
                self._files.delete(_claim(work, run))
        for run in hearts.keys() - living - {self._id}:
            self._files.delete(f"{FOLDER}/runs/{run}.json")
        return {work: self._runs[run] for work, run in claims if run in living}

    def claim(self, work: Collection[str]) -> bool:
        """Claim pieces of work, all or none; return whether they are this run's now."""
        wanted = set(work) - self._mine
        for each in wanted:
            self._files.publish(_claim(each, self._id), b"")
        if self.taken().keys() & wanted:
            self._withdraw(wanted)
            return False
        self._mine |= wanted
        return True

    def release(self, work: Iterable[str]) -> None:
        """Give back what is finished, or not wanted any more."""
        held = self._mine & set(work)
        self._withdraw(held)
        self._mine -= held

    def _withdraw(self, work: Iterable[str]) -> None:
        for each in work:
            self._files.delete(_claim(each, self._id))

    def _is_alive(self, run: str, beat: int | None) -> bool:
        if run not in self._runs:
            try:
                self._runs[run] = _read_run(self._files, run)
            except FileNotFoundError:
                return False
        if self._runs[run].is_gone():
            return False
        now = self._clock()
        seen, since = self._heartbeats.get(run, (None, now))
        if beat != seen:
            since = now
        self._heartbeats[run] = (beat, since)
        return now - since < self._abandoned_after_s

    def _beat(self) -> None:
        said = json.dumps(self._me._asdict()).encode()
        self._files.publish(f"{FOLDER}/runs/{self._id}.json", said, replace=True)

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._beat_every_s):
            # Whoever writes results will say what is wrong with the storage; a beat may be late.
            with contextlib.suppress(StorageError):
                self._beat()


def runs_at_work(files: Files, sweep: str) -> list[Run]:
    """Return the runs of a sweep that have not ended, as far as one look can tell.

    A run that was killed on another machine stays in the list until another run clears it away.
    """
    found: list[Run] = []
    for file in files.list(f"{FOLDER}/runs"):
        with contextlib.suppress(FileNotFoundError):
            run = _read_run(files, file.name.removesuffix(".json"))
            if run.sweep == sweep and not run.is_gone():
                found.append(run)
    return found


def _claim(work: str, run: str) -> str:
    return f"{FOLDER}/claims/{work}@{run}"


def _read_run(files: Files, run: str) -> Run:
    return Run(**json.loads(files.read(f"{FOLDER}/runs/{run}.json")))


def _machine() -> str | None:
    """Return what tells this machine's processes from those of any other, containers included; None if not Linux."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """Return when a process of this machine began, in the kernel's ticks; None if there is none of this id."""
    try:
        state, *fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]
