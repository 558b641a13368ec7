"""The copy of a place on this machine: it was listed at one moment, and its files come as they are asked for.

How it is kept is in `snapshots`, how a file gets here in `transfer`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from robustprune.core.errors import InputError
from robustprune.core.files import write_whole
from robustprune.core.progress import PATIENCE
from robustprune.staging.cache import VARIABLE, cache_folder, one_at_a_time
from robustprune.staging.remote import Remote, UnreachableError
from robustprune.staging.snapshots import Copied, Snapshot, read_json
from robustprune.staging.transfer import Transfer

AT_A_TIME = 16
"""Files that are on their way together."""

MENTIONED = 10 * 10**6
"""Bytes: of less nothing is said, unless it takes long."""

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Copy:
    """A place as it was listed, and those of its files that are here."""

    def __init__(self, remote: Remote, home: Path, snapshot: Snapshot) -> None:
        """Take a snapshot; called while the lock of the place is held."""
        self._remote, self._home, self._snapshot = remote, home, snapshot
        self._held, self._whole = snapshot.hold(), set[str]()
        self.uri, self.folder, self.files = remote.uri, snapshot.folder, snapshot.files
        remote.is_file = snapshot.is_file

    @property
    def address(self) -> str:
        """Return the URI without the options at its end."""
        return self.uri.partition("?")[0].rstrip("/")

    @property
    def path(self) -> Path:
        """Return what stands for the URI: the folder, or the one file in it."""
        return self.folder / next(iter(self.files)) if self._snapshot.is_file else self.folder

    def fetch(self, names: Iterable[str]) -> None:
        """See that files are here, and are what arrived; names that were not listed are passed over.

        Raises:
            InputError: one changed, does not arrive as it is, may not be read, or does not fit on the disk.
        """
        wanted = [name for name in dict.fromkeys(names) if name in self.files and name not in self._whole]
        try:
            if self._missing(wanted):
                with _turn(self._home, self.uri):
                    # Who had the turn before may have brought them.
                    if missing := self._missing(wanted):
                        self._copy(missing)
        except OSError as error:
            if error.errno in _FULL:
                raise self._full(sum(map(self._to_come, self._missing(wanted)))) from error
            raise InputError(
                f"{self._remote.field}: {self.uri}: cannot be copied to {self.folder} ({error.strerror or error})"
            ) from error
        self._whole.update(wanted)

    def _missing(self, names: Sequence[str]) -> list[str]:
        copied = self._snapshot.copied() if names else {}
        return [name for name in names if not self._snapshot.is_whole(name, copied.get(name))]

    def _copy(self, names: Sequence[str]) -> None:
        self._snapshot.parts.mkdir(exist_ok=True)
        needed = sum(self._to_come(name) for name in names)
        if needed > shutil.disk_usage(self._home).free:
            raise self._full(needed)
        teller = _Teller(self.address, len(names), needed)
        if needed >= MENTIONED:
            teller.say(f"copying {_files(len(names))} ({_in_words(needed)}) to {self.folder}")
        transfer = Transfer(self._remote, teller.came)
        pool = ThreadPoolExecutor(AT_A_TIME)
        try:
            jobs = {
                pool.submit(transfer.copy, name, self.files[name], self._part(name), self.folder / name): name
                for name in names
            }
            for job in as_completed(jobs):
                name = jobs[job]
                sha256, modified_ns = job.result(), (self.folder / name).stat().st_mtime_ns
                self._snapshot.note([(name, Copied(sha256, modified_ns))])
                teller.arrived()
        finally:
            transfer.stop()
            pool.shutdown(cancel_futures=True)
        # Others may be on their way there, of which a process died.
        with suppress(OSError):
            self._snapshot.parts.rmdir()

    def _part(self, name: str) -> Path:
        """Return where a file grows."""
        return self._snapshot.parts / hashlib.sha256(name.encode()).hexdigest()[:32]

    def _to_come(self, name: str) -> int:
        """Return how many bytes of a file are not here."""
        try:
            return max(self.files[name].size - self._part(name).stat().st_size, 0)
        except FileNotFoundError:
            return self.files[name].size

    def _full(self, needed: int) -> InputError:
        free = shutil.disk_usage(self._home).free
        return InputError(
            f"{self._remote.field}: {self.uri}: found {_in_words(free)} free for its copy in {self._home}, expected "
            f"{_in_words(needed)} ({VARIABLE}=DIR puts it elsewhere)"
        )


def open_copy(uri: str, field: str) -> Copy:
    """Return the copy of a place as it is now, of which nothing may be here yet.

    Processes that wait for one that lists it take what that finds. Where nobody answers, the last listing stands, and
    that is said.

    Raises:
        InputError: there is nothing, or nobody answers and it was never listed.
    """
    asked = time.time()
    remote, home = Remote(uri, field), cache_folder() / "data" / _name(uri)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _turn(home, uri):
            latest = read_json(home / "latest")
            if latest is not None and asked <= latest["began"] <= time.time():
                snapshot = Snapshot(home, latest["id"])
            else:
                snapshot = _listed(remote, home, latest)
            copy = Copy(remote, home, snapshot)
            snapshot.remove_others()
    except OSError as error:
        raise InputError(
            f"{field}: {uri}: no copy can be kept in {home} ({error.strerror}), expected a folder that can be written "
            f"({VARIABLE}=DIR names one)"
        ) from error
    return copy


def _listed(remote: Remote, home: Path, latest: dict[str, str] | None) -> Snapshot:
    began = time.time()
    try:
        files = remote.files()
    except UnreachableError as error:
        if latest is None:
            raise
        print(f"{error}; taken as it was when it was copied", file=sys.stderr, flush=True)
        return Snapshot(home, latest["id"])
    snapshot = Snapshot.publish(home, files, is_file=remote.is_file)
    write_whole(home / "latest", json.dumps({"id": snapshot.id, "began": began}))
    return snapshot


def _turn(home: Path, uri: str) -> AbstractContextManager[None]:
    return one_at_a_time(home / "lock", f"{uri}: waiting for another process of this machine, which copies from there")


def _name(uri: str) -> str:
    """Return the name of a URI's folder: told by its hash, and readable."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", uri.partition("://")[2].partition("?")[0]).strip("-.")
    return f"{words[:60]}-{hashlib.sha256(uri.rstrip('/').encode()).hexdigest()[:8]}"


class _Teller:
    """Says on stderr how much has come, where it takes long; called from several threads."""

    def __init__(self, uri: str, files: int, size: int) -> None:
        self._uri, self._of_files, self._of_bytes = uri, files, size
        self._files, self.bytes = 0, 0
        self._spoken, self._lock = time.monotonic(), threading.Lock()

    def say(self, what: str) -> None:
        print(f"{self._uri}: {what}", file=sys.stderr, flush=True)

    def came(self, count: int) -> None:
        with self._lock:
            self.bytes += count
            if time.monotonic() - self._spoken > PATIENCE:
                self._spoken = time.monotonic()
                self.say(
                    f"{self._files:,} of {_files(self._of_files)} copied, {_in_words(self.bytes)} of "
                    f"{_in_words(self._of_bytes)}"
                )

    def arrived(self) -> None:
        with self._lock:
            self._files += 1


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _in_words(size: int) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size} bytes"
