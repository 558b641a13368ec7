"""Leases: which run works on what, so that two runs on one storage never compute the same thing at once.

A run keeps a heartbeat file, and one empty file per piece of work it claims. To claim, a run writes its own file and
then looks: where another living run has claimed the same, it takes its file back. Of two runs that claim at the same
moment at least one sees the other, so they never both go on, and all this needs of a storage is that it lists what was
written: no locks, no clocks that agree. An abandoned claim needs no handing over: it is one whose run is dead.

A lease saves work; it does not guard data: publishing keeps the first result. A run that slept through its own death
finds out when it wakes, see `Leases.check`, and leaves what it has begun to whoever took it over.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from sweeps.errors import StorageError
from sweeps.storage.backends import notices
from sweeps.storage.backends.retry import patience
from sweeps.storage.files import Files, UnreadableError

FOLDER = ".leases"
"""Beside `checkpoints` and the sweeps; hidden: no sweep can have its name. Safe to delete while nothing runs."""

BEAT_EVERY_S = 10.0
ABANDONED_AFTER_S = 60.0
"""Seconds without a heartbeat, by the observer's own clock, after which a run counts as dead."""

MISSED = 3
"""So many heartbeats fail before a run counts as out of touch."""

HURRY_S = 5.0
"""How long giving back waits for a storage that does not answer: what stays is removed later, or by others."""


def _since_boot() -> float:
    """Return seconds by a clock that goes on while this machine sleeps, where there is one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


OWN_CLOCKS = (_since_boot, time.time)
"""A machine that is paused from outside stands still, and so do its clocks, until someone sets the time."""


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
    """The claims of one run, held from entering this context to leaving it. Any thread may call any method.

    A run that was out of touch for so long that others may have taken it for dead (its process was stopped, its machine
    paused, its mount hung) finds that out by itself: `check` then says why it has to end.
    """

    def __init__(
        self,
        files: Files,
        sweep: str,
        *,
        beat_every_s: float = BEAT_EVERY_S,
        abandoned_after_s: float = ABANDONED_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
        own_clocks: Sequence[Callable[[], float]] = OWN_CLOCKS,
    ) -> None:
        """Take the storage, and the sweep that is run.

        Args:
            files: the storage.
            sweep: that is run.
            beat_every_s: between heartbeats.
            abandoned_after_s: without a heartbeat, after which a run counts as dead.
            clock: times the heartbeats of others.
            own_clocks: time this run's own.
        """
        self._files, self._clock, self._own_clocks = files, clock, own_clocks
        self._beat_every_s, self._abandoned_after_s = beat_every_s, abandoned_after_s
        self._id = uuid.uuid4().hex[:12]
        self._me = Run(sweep, socket.gethostname(), os.getpid(), _machine(), _started(os.getpid()))
        self._mine: set[str] = set()
        self._left_over: set[str] = set()
        self._runs: dict[str, Run] = {}
        self._heartbeats: dict[str, tuple[int | None, float]] = {}
        self._in_touch_since = -math.inf
        self._beaten: tuple[float, ...] | None = None
        self._lost = ""
        self.news: Callable[[], Mapping[str, Any]] = dict
        """Returns what who asks about this run should know, in JSON; it is written where the heart beats anyway."""
        self._claiming, self._beating = threading.RLock(), threading.Lock()
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
        # A beat that hangs must not hold up the end; one that comes late is that of a dead run.
        self._thread.join(HURRY_S)
        self.release(self._mine.copy())
        self._clear_up()
        # A storage that fails now must not hide why the run ends; what stays behind counts as abandoned.
        with contextlib.suppress(StorageError), patience(HURRY_S):
            self._files.delete(self._file)

    @property
    def id(self) -> str:
        """This run's name among the claims, for `still_claimed`."""
        return self._id

    @property
    def lost(self) -> str:
        """Why this run has to end, as far as is known; no text while its claims hold. Asks nobody."""
        return self._lost

    def check(self) -> str:
        """Return why this run has to end, in a sentence; no text while its claims hold.

        Costs nothing while the heart beats. Where it was silent for too long, this asks the storage first: before it
        returns, nothing may be published.

        Raises:
            StorageError: the storage does not say.
        """
        if not self._lost and self._silent_s() >= self._abandoned_after_s:
            self._beat()
        return self._lost

    def taken(self) -> dict[str, Run]:
        """Return what other living runs have claimed, and by whom. Clears away what dead runs left."""
        with self._claiming:
            if self._silent_s() > MISSED * self._beat_every_s:
                self._beat()
            hearts, claims = self._listed()
            living = {run for run, beat in hearts.items() if run != self._id and self._is_alive(run, beat)}
            dead = [_claim(work, run) for work, run in claims if run != self._id and run not in living]
            dead += [_run(run) for run in hearts.keys() - living - {self._id}]
            # Whoever claims next will try again.
            with contextlib.suppress(StorageError):
                if dead:
                    self._files.delete(*dead)
            return {work: self._runs[run] for work, run in claims if run in living}

    def claim(self, work: Collection[str]) -> bool:
        """Claim pieces of work, all or none; return whether they are this run's now."""
        return self.claim_each([work])[0]

    def claim_each(self, wanted: Sequence[Collection[str]]) -> list[bool]:
        """Claim several times, each all or none, with one look at what others have; return which are this run's now."""
        with self._claiming:
            if self._lost:
                return [False] * len(wanted)
            new = set().union(*wanted) - self._mine
            self._left_over -= new
            try:
                self._files.publish_many([_claim(each, self._id) for each in new])
                taken = self.taken().keys() if new else set()
            except StorageError:
                # Some may be there: as long as this run lives, others would take them for its own.
                self._left_over |= new
                raise
            ours = [taken.isdisjoint(set(work) - self._mine) and not self._lost for work in wanted]
            got = set().union(*(work for work, got in zip(wanted, ours, strict=True) if got)) - self._mine
            self._withdraw(new - got)
            self._mine |= got
            return ours

    def release(self, work: Iterable[str]) -> None:
        """Give back what is finished, or not wanted any more. A storage that fails is asked again later."""
        with self._claiming:
            held = self._mine & set(work)
            self._mine -= held
            self._withdraw(held)

    @property
    def _file(self) -> str:
        return _run(self._id)

    def _withdraw(self, work: Collection[str]) -> None:
        if not work:
            return
        try:
            with patience(HURRY_S):
                self._files.delete(*(_claim(each, self._id) for each in work))
        except StorageError:
            self._left_over |= set(work)

    def _listed(self) -> tuple[dict[str, int | None], list[tuple[str, str]]]:
        """Return when each run's heart beat last, and all claims: of what, and whose."""
        hearts: dict[str, int | None] = {}
        claims: list[tuple[str, str]] = []
        for file in self._files.list(FOLDER, recursive=True):
            folder, _, name = file.name.partition("/")
            if folder == "runs":
                hearts[name.removesuffix(".json")] = file.modified_ns
            else:
                work, _, run = name.rpartition("@")
                claims.append((work, run))
        return hearts, claims

    def _is_alive(self, run: str, beat: int | None) -> bool:
        if run not in self._runs:
            self._runs |= read_runs(self._files, [run])
            if run not in self._runs:
                return False
        if self._runs[run].is_gone():
            return False
        now = self._clock()
        seen, since = self._heartbeats.get(run, (None, now))
        if beat != seen:
            since = now
        self._heartbeats[run] = (beat, since)
        return now - max(since, self._in_touch_since) < self._abandoned_after_s

    def _silent_s(self) -> float:
        """Return how long ago the last heartbeat was that is known to have been written."""
        if self._beaten is None:
            return 0.0
        return max(clock() - then for clock, then in zip(self._own_clocks, self._beaten, strict=True))

    def _beat(self) -> None:
        with self._beating:
            silent_s, began = self._silent_s(), tuple(clock() for clock in self._own_clocks)
            cleared = self._beaten is not None and not self._files.exists(self._file)
            self._files.publish(self._file, self._description(), replace=True)
            if silent_s > MISSED * self._beat_every_s:
                # Who could not be heard could not hear, either: perhaps the storage did not answer, to anyone.
                self._in_touch_since = self._clock()
            if cleared or silent_s >= self._abandoned_after_s:
                self._look_after_claims(silent_s)
            self._beaten = began

    def _description(self) -> bytes:
        """Return what this run's file says. Whatever is wrong with its news, the heart beats."""
        me = self._me._asdict()
        try:
            return json.dumps({**me, "news": self.news()}).encode()
        except Exception:
            return json.dumps(me).encode()

    def _look_after_claims(self, silent_s: float) -> None:
        """See whether others took this run for dead. Its heart beats again, so that from here on nobody does; who did
        before had claimed already, or cleared our claims away.
        """
        held = self._mine.copy()
        _, claims = self._listed()
        ours = {work for work, run in claims if run == self._id}
        others = {work for work, run in claims if run != self._id}
        if not held <= ours or not held.isdisjoint(others):
            self._lost = (
                f"storage {self._files.location!r} has not heard of this run for {silent_s:.0f} seconds (was it "
                "stopped, or its machine paused?), and another run has taken over its work"
            )

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._beat_every_s):
            # Whoever writes results will say what is wrong with the storage; a beat may be late.
            with contextlib.suppress(StorageError), patience(0.0):
                self._beat()
                self._clear_up()

    def _clear_up(self) -> None:
        """Remove claims that could not be removed when they were given back."""
        if self._left_over and self._claiming.acquire(blocking=False):
            try:
                left, self._left_over = self._left_over, set()
                self._withdraw(left)
            finally:
                self._claiming.release()


def still_claimed(files: Files, work: str, run: str) -> bool:
    """Say whether a run, known by `Leases.id`, still has its claim on a piece of work. One request; for a worker that
    is about to publish.
    """
    return files.exists(_claim(work, run))


class AtWork(NamedTuple):
    """A run that has not ended, what it says of itself, and seconds since its heart beat last by the clock of who asks.

    A run that was killed on another machine stays until another run clears it away.
    """

    run: Run
    news: Mapping[str, Any]
    silent_s: float

    @property
    def is_silent(self) -> bool:
        """Whether others would take it for dead."""
        return self.silent_s >= ABANDONED_AFTER_S


def runs_at_work(files: Files, sweep: str) -> list[AtWork]:
    """Return the runs of a sweep that have not ended, as far as one look can tell."""
    now = time.time()
    beats = {file.name.removesuffix(".json"): file.modified_ns for file in files.list(f"{FOLDER}/runs")}
    found = []
    for id_, said in _descriptions(files, [*beats]).items():
        run, beat = _who_else(files, id_, said), beats[id_]
        if run.sweep == sweep and not run.is_gone():
            news = said.get("news") if isinstance(said, dict) else None
            silent_s = 0.0 if beat is None else max(0.0, now - beat / 1e9)
            found.append(AtWork(run, news if isinstance(news, dict) else {}, silent_s))
    return found


def read_runs(files: Files, ids: Sequence[str]) -> dict[str, Run]:
    """Return who runs are, by `Leases.id`; those that have ended meanwhile are left out. One whose file cannot be read
    lives as long as its heart beats.
    """
    return {id_: _who_else(files, id_, said) for id_, said in _descriptions(files, ids).items()}


def _descriptions(files: Files, ids: Sequence[str]) -> dict[str, dict[str, Any] | UnreadableError]:
    said = files.read_jsons([_run(id_) for id_ in ids])
    return {id_: each for id_, each in zip(ids, said, strict=True) if each is not None}


def _who_else(files: Files, id_: str, said: dict[str, Any] | UnreadableError) -> Run:
    """Return who a run is; one that nothing is known of where its file does not say."""
    who = _who(said) if isinstance(said, dict) else None
    if who is None:
        wrong = (
            said if isinstance(said, UnreadableError) else f"{files.describe(_run(id_))}: found no run's description"
        )
        notices.say_once(f"{wrong}; taken for a run of some sweep until it is silent")
    return who or Run("", "an unknown host", 0, None, None)


def _claim(work: str, run: str) -> str:
    return f"{FOLDER}/claims/{work}@{run}"


def _run(run: str) -> str:
    return f"{FOLDER}/runs/{run}.json"


def _who(said: Mapping[str, Any]) -> Run | None:
    """Return who a run is, by what its file says, whatever else a later version writes there; None where it does not
    say that.
    """
    fields: list[Any] = [said.get(field) for field in Run._fields]
    run = Run(*fields)
    known = isinstance(run.sweep, str) and isinstance(run.host, str) and type(run.pid) is int
    texts = (str, type(None))
    return run if known and isinstance(run.machine, texts) and isinstance(run.started, texts) else None


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
