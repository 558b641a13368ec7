"""What a private Ray needs of this machine: a folder for its sockets, room in memory, files and processes.

Each lack is told in a sentence that names who sets the limit; Ray itself would hang, or die without a word.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ray._private.utils import estimate_available_memory, get_shared_memory_bytes, resolve_object_store_memory

from sweeps.engine.cluster import allotted
from sweeps.errors import ClusterError

LONGEST_SOCKET = 107
"""Bytes in the path of a socket, by the kernel."""

NAME = len("/ray-12345678")
IN_FOLDER = len("/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""What the paths of Ray's sockets have after that of the folder."""

FILES = 1024
"""Open files that each process of Ray may need."""

THREADS, THREADS_PER_CPU = 250, 60
"""Threads of a private Ray, and those of a worker process, of which there is one per CPU and a few more."""

OBJECT_STORE = "/dev/shm"


@contextmanager
def folders() -> Iterator[dict[str, Any]]:
    """Make folders of this run alone, and remove them at the end; yield the options of `ray.init` that name them.

    Sockets lie in a folder of a short path. Where temporary files belong into one of a long path, Ray spills there what
    its memory does not hold.

    Raises:
        ClusterError: no folder can be written, or RAY_TMPDIR is none.
    """
    with ExitStack() as stack:

        def make(base: str) -> str:
            made = tempfile.TemporaryDirectory(prefix="ray-", dir=base, ignore_cleanup_errors=True)
            return stack.enter_context(made)

        named = os.environ.get("RAY_TMPDIR")
        try:
            wanted = str(Path(named or tempfile.gettempdir()).absolute())
        except OSError as error:
            raise ClusterError(f"TMPDIR: found {error}, expected a folder that can be written") from error
        room = LONGEST_SOCKET - NAME - IN_FOLDER
        short = [
            base for base in ([wanted] if named else [wanted, "/tmp", "/var/tmp"]) if len(os.fsencode(base)) <= room
        ]
        if not short:
            raise ClusterError(
                f"RAY_TMPDIR: found {wanted}, of {len(os.fsencode(wanted))} bytes, expected at most {room}: Ray keeps "
                "sockets there"
            )
        found = ""
        for base in short:
            try:
                options = {"_temp_dir": make(base)}
            except OSError as error:
                found = found or str(error)
                continue
            if base != wanted:
                options["object_spilling_directory"] = make(wanted)
            yield options
            return
        raise ClusterError(f"RAY_TMPDIR: found {found}, expected a folder that can be written")


def settle_home() -> None:
    """Give a user without a name or a home one that exists, as containers do; libraries ask for it when imported."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"


def remarks() -> list[str]:
    """Return a sentence where Ray's objects will not fit into memory that processes share."""
    free, wanted = _shared_memory(), _object_store_bytes()
    if free is None or free >= wanted:
        return []
    return [
        f"{OBJECT_STORE}: found {_gb(free)} free, expected {_gb(wanted)}: Ray keeps what trials share in files of its "
        f"temporary folder, which is slower (in Docker, --shm-size={wanted / 1e9 * 1.1:.0f}g helps)"
    ]


def check_limits(cpus: int) -> None:
    """Raise what this process may raise of its own limits, and refuse those under which Ray would not start.

    Args:
        cpus: that Ray will have.

    Raises:
        ClusterError: the limit on open files, the size of a file, or processes is too low.
    """
    open_files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < FILES:
        raise ClusterError(f"ulimit -n: found at most {most} open files, expected {FILES} or more for Ray")
    if open_files != resource.RLIM_INFINITY and open_files < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, most))
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        soft, hard = resource.getrlimit(limit)
        if soft != hard:
            resource.setrlimit(limit, (hard, hard))
    size, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if size != resource.RLIM_INFINITY and size < _object_store_bytes():
        raise ClusterError(
            f"ulimit -f: found files of at most {_gb(size)}, expected {_gb(_object_store_bytes())} or more: Ray's "
            "object store is one file"
        )
    needed = THREADS + THREADS_PER_CPU * cpus
    for name, left in _processes_left():
        if left < needed:
            raise ClusterError(
                f"{name}: found room for {max(left, 0)} more processes and threads, expected {needed} or more for Ray "
                f"on {cpus} CPUs (--cpus gives it fewer)"
            )


def _processes_left() -> Iterator[tuple[str, int]]:
    """Yield how many more processes and threads each limit allows, and what it is called."""
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if most != resource.RLIM_INFINITY and os.geteuid() != 0:  # the kernel does not hold root to it
        yield "ulimit -u", most - _threads_of(os.geteuid())
    for folder in allotted.groups("pids"):
        most_in_group = allotted.numbers(folder / "pids.max")
        if most_in_group:
            yield str(folder / "pids.max"), most_in_group[0] - sum(allotted.numbers(folder / "pids.current"))


def _threads_of(user: int) -> int:
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == user:
                total += sum(1 for _ in (process / "task").iterdir())
        except OSError:
            continue  # it has ended
    return total


def _shared_memory() -> int | None:
    """Return the bytes free in memory that processes share; None where this machine has none to look at."""
    try:
        return int(get_shared_memory_bytes())
    except (AssertionError, OSError):
        return None


def _object_store_bytes() -> int:
    """Return how large a store Ray would make by itself."""
    return int(resolve_object_store_memory(estimate_available_memory()))


def _gb(size: float) -> str:
    return f"{size / 1e9:.2g} GB"
