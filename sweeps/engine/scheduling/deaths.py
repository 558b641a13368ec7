"""Why a process died, and where: from what Ray keeps of it, and from what is left on its node.

Ray says the same of a process that was killed, that crashed, and that left by `os._exit`. Its log tells of signals that
can be caught, and the kernel counts whom it killed for want of memory. What nobody tells is not guessed.
"""

from __future__ import annotations

import importlib
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ray import cloudpickle
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)

from sweeps.engine.scheduling.whereabouts import SIGNAL, Remains, Whereabouts, remains_of
from sweeps.engine.tasks import cause, failure_of

_ADDRESS = re.compile(r"\bip[:=]\s*([0-9a-fA-F.:]+[0-9a-fA-F])", re.IGNORECASE)
_PID = re.compile(r"\bpid[:=]\s*(\d+)")
_NODE_DIED = re.compile(r"because its node has died.*(?:\n\s*the actor's node was ([^\n]+))?")
_MEMORY = re.compile(r"Memory on the node .* was ([\d.]+)\s?GB used / ([\d.]+)\s?GB limit")
_EXIT_CODE = re.compile(r"exits with an exit code (\d+)")
_DETAIL = re.compile(r"Worker exit detail: ([^\n]+?)(?:\.\s|\.?$)", re.MULTILINE)
_NO_WORD = "unexpectedly exits with a connection error"

SILENT = "killed (SIGKILL) or left by os._exit, without a word"
BY_RAY, BY_KERNEL = "out of memory: Ray ended it, its node being nearly full", "out of memory: the kernel killed it"


class Death(NamedTuple):
    """Why a process died, in a line without its number, so that such deaths count together, and where.

    `memory` has figures where memory was the cause, and `words` is the end of its log.
    """

    why: str
    address: str | None = None
    pid: int | None = None
    host: str = ""
    log: str = ""
    memory: str = ""
    words: str = ""
    node: str | None = None

    @property
    def place(self) -> str:
        """Which process it was, as far as that is known."""
        parts = [f"process {self.pid}"] if self.pid is not None else []
        named = [name for name in (self.host, self.address) if name]
        if named:
            parts.append(f"on node {named[0]}{f' ({named[1]})' if len(named) > 1 else ''}")
        told = [" ".join(parts)] if parts else []
        return ", ".join([*told, *([f"log {self.log}"] if self.log else [])])

    def __str__(self) -> str:
        """Return all that is known in a line, but for the log's content."""
        return "; ".join(part for part in (self.why, self.memory, self.place) if part)


def death_of(trial: Any, process: Whereabouts | None = None) -> Death:
    """Return why a trial's process died, from the files in which Tune keeps the error that ended it.

    It keeps the error itself of an actor or a task alone, and of any other, such as that memory ran out, its text.
    """
    if trial.pickled_error_file is not None:
        return examined(cloudpickle.loads(Path(trial.pickled_error_file).read_bytes()), process)
    if trial.error_file is not None:
        _, _, text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace").partition("\n")
        return examined(RayError(text), process)
    return Death("it told no reason")


@contextmanager
def each_of_a_trial_alone() -> Iterator[None]:
    """Let Tune take whatever Ray says of the death of a trial's process for the end of that trial.

    What is neither an error of an actor nor of a task, such as that memory ran out, it would raise, and so end the
    whole sweep (Ray 2.60).
    """
    try:
        manages = importlib.import_module("ray.air.execution._internal.actor_manager").RayActorManager
        tunes = manages._actor_task_failed
    except (ImportError, AttributeError):  # a later Ray, which has it elsewhere
        manages = tunes = None

    def told(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:  # called by these names
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            text, exception = str(exception), ActorDiedError()
            exception.error_msg = text
        tunes(manager, tracked_actor_task=tracked_actor_task, exception=exception)

    if manages is not None:
        manages._actor_task_failed = told
    try:
        yield
    finally:
        if manages is not None:
            manages._actor_task_failed = tunes


def examined(error: BaseException, process: Whereabouts | None = None) -> Death:
    """Return why a process died.

    Args:
        error: by Ray, that tells of the death.
        process: which one it was, where that is known.
    """
    text = str(error)
    found, number = _ADDRESS.search(text), _PID.search(text)
    address = found[1] if found is not None else None
    pid = int(number[1]) if number is not None else None
    if process is None:
        why, memory = _why(error, Remains(), None)
        return Death(why, address, pid, memory=memory)
    remains = Remains() if _NODE_DIED.search(text) else remains_of(process)
    why, memory = _why(error, remains, process)
    return Death(why, address, process.pid, process.host, process.log, memory, remains.words, process.node)


def failure_by(stage: str, error: BaseException, deaths: Sequence[Death]) -> dict[str, Any]:
    """Return what is kept of a failure of a stage or row whose processes died, the last by `error`."""
    last = deaths[-1]
    told = f"its process died {len(deaths)} times in a row with no progress saved in between; the last: {last}\n"
    where = {"pid": last.pid, "address": last.address, "log": last.log, "memory": last.memory, "attempts": len(deaths)}
    return {
        **failure_of(stage, error),
        "cause": f"its process died: {last.why}",
        "traceback": told + (f"\nThe end of its log:\n{last.words}\n" if last.words else ""),
        **({"host": last.host} if last.host else {}),
        **{name: value for name, value in where.items() if value},
    }


def _why(error: BaseException, remains: Remains, process: Whereabouts | None) -> tuple[str, str]:
    """Return why, and figures of memory."""
    if isinstance(error, RayTaskError):
        inner = error.cause
        return _why(inner, remains, process) if isinstance(inner, RayError) else (cause(inner), "")
    text = str(error)
    if isinstance(error, OutOfMemoryError) or _MEMORY.search(text):
        return BY_RAY, _of_ray(text, process)
    if isinstance(error, RayActorError) and error.actor_init_failed:
        # The last line of a traceback: the process could not even load what it was to run.
        return text.strip().splitlines()[-1].strip(), ""
    if "killed by `ray.kill`" in text:
        return "ended by ray.kill", ""
    node = _NODE_DIED.search(text)
    if node is not None or isinstance(error, NodeDiedError):
        return f"its node is gone{f' ({node[1].strip()})' if node is not None and node[1] else ''}", ""
    if isinstance(error, ObjectLostError):
        return f"what it was to read is gone ({type(error).__name__})", ""
    if "SIGTERM" in text:
        return _named("SIGTERM"), ""
    if (code := _EXIT_CODE.search(text)) is not None:
        return f"it left with exit code {code[1]}", ""
    if (told := SIGNAL.search(remains.words)) is not None:
        why = _named(told[1]) if told[1] else f"fatal Python error: {told[2]}"
        return why, remains.shared_memory if told[1] == "SIGBUS" else ""
    if _NO_WORD in text and process is not None and _killed_for_memory(remains, process):
        limit = f", of {remains.memory_limit / 1e9:.3g} GB there" if remains.memory_limit else ""
        return BY_KERNEL, f"its count of such kills rose from {process.memory_kills} to {remains.memory_kills}{limit}"
    if _NO_WORD in text:
        return SILENT, ""
    if isinstance(error, ActorUnavailableError):
        return "its process, or its node, does not answer (ActorUnavailableError)", ""
    detail = _DETAIL.search(text)
    if detail is None and type(error) is RayError:
        return cause(error).removeprefix("RayError: "), ""
    return f"{type(error).__name__}{f': {detail[1]}' if detail is not None else ''}", ""


def _of_ray(text: str, process: Whereabouts | None) -> str:
    """Return the figures with which Ray ends a process for want of memory."""
    on_node = _MEMORY.search(text)
    found = [f"{on_node[1]} of {on_node[2]} GB were in use there"] if on_node is not None else []
    own = re.search(rf"pid={process.pid}, actual memory used=([\d.]+)\s?GB", text) if process is not None else None
    return ", ".join([*found, *([f"{own[1]} GB by it"] if own is not None else [])])


def _killed_for_memory(remains: Remains, process: Whereabouts) -> bool:
    before, after = process.memory_kills, remains.memory_kills
    return before is not None and after is not None and after > before


def _named(name: str) -> str:
    """Return a signal by its name, with what it means."""
    number = getattr(signal, name, None)
    meaning = signal.strsignal(number) if number is not None else None
    return f"{name} ({meaning.lower()})" if meaning else name
