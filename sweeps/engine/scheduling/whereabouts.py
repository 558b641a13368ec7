"""Where a process runs and what is left there of it when it has died: its last words, and the kernel's counts."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.engine.cluster import allotted

OWN_LOG = Path("/proc/self/fd/2")
VMSTAT = Path("/proc/vmstat")
SHARED_MEMORY = Path("/dev/shm")

LOG_END = 64 * 1024
"""Bytes of a log that are looked at, from its end."""

MOST_LINES, LINES_BEFORE = 60, 10
"""Of a log, kept at most; and of those, before a signal is told, where one is."""

LOOK_WITHIN_S = 5.0
"""How long a node may take to tell what is left there of a process."""

SIGNAL = re.compile(r"^\*\*\* (SIG[A-Z0-9]+) received\b|^Fatal Python error: ([^\n]+)", re.MULTILINE)
"""How Ray and Python tell the log of a process of a signal that ends it; they do of none that cannot be caught."""

_NOISE = re.compile(r":(?:job_id|actor_name|task_name):|\[[^]]+\] logging\.cc:|Extension modules: ")


class Whereabouts(NamedTuple):
    """A process: its number, its node by Ray's id and by its name, the file of its log, and how many processes the
    kernel had killed there for want of memory. No text and None: not known.
    """

    pid: int
    node: str
    host: str
    log: str = ""
    memory_kills: int | None = None


class Remains(NamedTuple):
    """What a node tells of a process that died there: the end of its log, the kernel's count of processes killed for
    want of memory, the bytes that it had for the process and its like, and what is left of shared memory, in words.
    """

    words: str = ""
    memory_kills: int | None = None
    memory_limit: int | None = None
    shared_memory: str = ""


def here() -> Whereabouts:
    """Return where this process is."""
    try:
        log = str(OWN_LOG.readlink())
    except OSError:  # there is no /proc
        log = ""
    node = ray.get_runtime_context().get_node_id()
    return Whereabouts(os.getpid(), node, socket.gethostname(), log if log.startswith("/") else "", memory_kills())


def memory_kills() -> int | None:
    """Return how many processes the kernel has killed for want of memory: in this control group, or on this machine."""
    files = (folder / name for folder in allotted.groups("memory") for name in ("memory.events", "memory.oom_control"))
    for file in (*files, VMSTAT):
        for line in _lines(file):
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None


def remains_of(process: Whereabouts) -> Remains:
    """Return what is left of a process that has died, also on another node, if that answers."""
    return look(process.log) if process.node == ray.get_runtime_context().get_node_id() else asked_of_its_node(process)


def asked_of_its_node(process: Whereabouts) -> Remains:
    """Return what the node of a process tells of it; of one that does not answer, what is on a disk that all share."""
    there = NodeAffinitySchedulingStrategy(process.node, soft=False)
    ask = ray.remote(look).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
    asked = ask.remote(process.log)
    try:
        found: Remains = ray.get(asked, timeout=LOOK_WITHIN_S)
    except RayError:  # also where it took too long
        ray.cancel(asked)
        return Remains(words=last_words(process.log))
    return found


def look(log: str) -> Remains:
    """Return what this node tells of a process that has died here."""
    return Remains(last_words(log), memory_kills(), min(_limits(), default=None), _shared_memory())


def last_words(log: str) -> str:
    """Return the end of a log, without what Ray adds; no text where there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LOG_END))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line for line in text.splitlines() if not _NOISE.match(line)]
    told = next((number for number, line in enumerate(lines) if SIGNAL.match(line)), None)
    begin = max(0, len(lines) - MOST_LINES if told is None else told - LINES_BEFORE)
    return "\n".join(lines[begin : begin + MOST_LINES]).strip()


def _limits() -> Iterator[int]:
    """Yield the bytes that each control group above this process allows, and those of the machine."""
    for folder in allotted.groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            yield from allotted.numbers(folder / name)
    if hasattr(os, "sysconf"):
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _shared_memory() -> str:
    try:
        total, used, _ = shutil.disk_usage(SHARED_MEMORY)
    except OSError:
        return ""
    return f"{used / 1e9:.2g} of {total / 1e9:.2g} GB of {SHARED_MEMORY} are in use"


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
