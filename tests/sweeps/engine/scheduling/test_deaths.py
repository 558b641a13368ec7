"""Why a process died, from what Ray 2.60 says of real deaths and from what is left on the node."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    OutOfMemoryError,
    OwnerDiedError,
    RayActorError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.util.placement_group import placement_group, remove_placement_group

from sweeps.engine import fan_out
from sweeps.engine.cluster import allotted
from sweeps.engine.scheduling import deaths, whereabouts
from sweeps.engine.scheduling.deaths import Death, death_of, each_of_a_trial_alone, examined, failure_by
from sweeps.engine.scheduling.whereabouts import Remains, Whereabouts
from sweeps.engine.tasks import Outcome
from sweeps.engine.worker import Place, Share
from sweeps.planning import plan
from sweeps.storage import Store
from tests.support import shared_ray, toy_rows

HEAD = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: Worker\n"
    "\tactor_id: c7e3431c71a2861bf39aeb1201000000\n\tpid: 24287\n\tnamespace: 02c7406b-3c3e-4c8a-9c79-a4e6a4b9ce16\n"
    "\tip: 192.0.2.2\n"
)
OF_WORKER = "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
NO_WORD = (
    f"{HEAD}{OF_WORKER}Worker unexpectedly exits with a connection error code 2. End of file. Some common causes "
    "include: (1) the process was killed by the OOM killer due to high memory usage, (2) ray stop --force was called, "
    "or (3) the worker crashed unexpectedly due to SIGSEGV or another unexpected error. If the process was killed by "
    "the kernel OOM killer (verifiable by checking for OOM in dmesg of the OOMing node), consider enabling resource "
    "isolation via --enable-resource-isolation to prevent node deaths by resource contention and significant loss of "
    "progress by uninformed kernel OOM killing."
)
SIGTERM = (
    f"{HEAD}{OF_WORKER}Worker exits unexpectedly. Worker exits with an exit code 1. The process receives a SIGTERM."
)
EXIT_CODE = f"{HEAD}{OF_WORKER}Worker exits unexpectedly. Worker exits with an exit code 4."
NODE_ENDED = (
    f"{HEAD}The actor died because its node has died. Node Id: 06b2861c6ab1995f3f6f601b8fe1b1334ef826a910df69423af25fc6"
    "\n\tthe actor's node was terminated expectedly: received SIGTERM"
)
KILLED = f"{HEAD}The actor is dead because it was killed by `ray.kill`."
NOT_LOADED = (
    "The actor died because of an error raised in its creation task, \x1b[36mray::J.__init__()\x1b[39m (pid=26232, "
    "ip=192.0.2.2, actor_id=54be6a9bdd14f7a78994acd401000000, repr=<node.J object at 0x7fecf2017e90>)\n"
    '  File "/home/node.py", line 38, in __init__\nModuleNotFoundError: no x'
)
UNAVAILABLE = (
    "The actor is temporarily unavailable: RpcError: RPC error: Socket closed rpc_code: 14. The task may or may not "
    "have been executed on the actor."
)
BY_RAY = (
    "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 192.0.2.2, ID: "
    "45dd4461db5670dd58329b27e22563495daa9c33951d5469943a659c) was 2.24GB used / 23.54GB limit (0.095265)\n"
    "OOM kill reason: Memory usage 2251280384B exceeded threshold of 505530208B (2.0% of 25276510208B limit)\n"
    "Ray killed 1 worker(s) based on the killing policy\nConsidered workers: [\n"
    "Selected to kill: (Actor(7f034a722c3c4159a9ef6dd001000000): job ID=01000000, lease ID=00000000a44bdd22, task "
    "name=W.__init__, required resources={CPU: 0.1}, pid=24287, actual memory used=0.30GB, worker ID=11e0279e6f92)\n]"
)
LOG = """\
:job_id:01000000
:actor_name:Worker
loading the data
*** SIGBUS received at time=1796081762 on cpu 1 ***
PC: @     0x7f0d7185a267  (unknown)  kill
[2026-11-30 23:36:02,648 E 24364 24364] logging.cc:474: *** SIGBUS received at time=1796081762 on cpu 1 ***
Fatal Python error: Bus error

Stack (most recent call first):
  File "/home/study.py", line 18 in train

Extension modules: msgpack._cmsgpack, google._upb._message (total: 2)
"""

PROCESS = Whereabouts(24287, "7bc5", "gpu-3", "/tmp/ray/session/logs/worker-1-01000000-24287.err", memory_kills=2)


def died(text: str, kind: type[ActorDiedError] = ActorDiedError) -> ActorDiedError:
    error = kind()
    error.error_msg = text
    return error


def not_loaded() -> ActorDiedError:
    error = died(NOT_LOADED)
    error._actor_init_failed = True
    return error


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What is left of the process, to be set by a test."""
    told = SimpleNamespace(remains=Remains(memory_kills=2))
    monkeypatch.setattr(deaths, "remains_of", lambda process: told.remains)
    return told


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (died(NO_WORD), deaths.SILENT),
        (died(SIGTERM), "SIGTERM (terminated)"),
        (died(EXIT_CODE), "it left with exit code 4"),
        (died(NODE_ENDED), "its node is gone (terminated expectedly: received SIGTERM)"),
        (NodeDiedError("Task failed because the node it was running on is dead"), "its node is gone"),
        (died(KILLED), "ended by ray.kill"),
        (not_loaded(), "ModuleNotFoundError: no x"),
        (ActorUnavailableError(UNAVAILABLE, bytes(16)), "its process, or its node, does not answer"),
        (OutOfMemoryError(BY_RAY), deaths.BY_RAY),
        (OwnerDiedError("ab" * 28, b"", "ray.put()"), "what it was to read is gone (OwnerDiedError)"),
        (RayTaskError("f", "Traceback", OutOfMemoryError(BY_RAY)), deaths.BY_RAY),
        (RayTaskError("f", "Traceback", OSError("no space left\non the device")), "OSError: no space left"),
        (WorkerCrashedError(), "WorkerCrashedError"),
        (died(HEAD), "ActorDiedError"),
    ],
)
@pytest.mark.parametrize("process", [None, PROCESS])
def test_the_cause_is_what_ray_says(
    error: Exception, why: str, process: Whereabouts | None, left: SimpleNamespace
) -> None:
    assert examined(error, process).why.startswith(why)


@pytest.mark.parametrize("error", [OutOfMemoryError(BY_RAY), NodeDiedError("The node is gone"), died(NO_WORD)])
def test_what_ends_a_trials_process_ends_its_trial_alone(error: Exception) -> None:
    """Ray 2.60's Tune raises an OutOfMemoryError out of `Tuner.fit`."""
    told: list[Exception] = []
    actor = SimpleNamespace(actor_id=1, _on_error=lambda _, error: told.append(error))
    manager = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=lambda tracked_actor: None)
    with each_of_a_trial_alone():
        failed: Any = RayActorManager._actor_task_failed
        # As `RayActorManager` itself calls it.
        failed(manager, tracked_actor_task=SimpleNamespace(_tracked_actor=actor, _on_error=None), exception=error)
    assert [str(each) for each in told] == [str(error)]
    assert isinstance(told[0], RayActorError)
    assert RayActorManager._actor_task_failed.__module__ == RayActorManager.__module__, "as it was"
    if isinstance(error, OutOfMemoryError):
        assert examined(told[0]).why == deaths.BY_RAY


def test_a_process_that_nobody_knew_is_told_by_number_and_address() -> None:
    death = examined(died(NO_WORD))
    assert (death.pid, death.address, death.place) == (24287, "192.0.2.2", "process 24287 on node 192.0.2.2")
    assert examined(not_loaded()).address == "192.0.2.2"


def test_of_an_error_that_tune_keeps_as_text_the_text_is_read(tmp_path: Path) -> None:
    """Ray 2.60's Tune keeps an OutOfMemoryError so."""
    file = tmp_path / "error.txt"
    trial = SimpleNamespace(pickled_error_file=None, error_file=str(file))
    file.write_text(f"Failure # 1 (occurred at 2026-12-01_00-13-55)\n{BY_RAY}\n")
    death = death_of(trial)
    assert (death.why, death.address, death.pid) == (deaths.BY_RAY, "192.0.2.2", 24287)
    assert death.memory == "2.24 of 23.54 GB were in use there"
    file.write_text("Failure # 1 (occurred at 2026-12-01_00-13-55)\nThe moon is full\nand high\n")
    assert death_of(trial).why == "The moon is full"
    trial.error_file = None
    assert (death_of(trial).why, death_of(trial).place) == ("it told no reason", "")


def test_a_signal_that_can_be_caught_is_in_the_log(left: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(LOG)
    words = whereabouts.last_words(str(tmp_path / "log"))
    left.remains = Remains(words, 2, shared_memory="64 of 64 MB of /dev/shm are in use")
    death = examined(died(NO_WORD), PROCESS)
    assert death.why == "SIGBUS (bus error)"
    assert str(death) == (
        "SIGBUS (bus error); 64 of 64 MB of /dev/shm are in use; process 24287 on node gpu-3 (192.0.2.2), log "
        "/tmp/ray/session/logs/worker-1-01000000-24287.err"
    )
    assert words.splitlines()[0] == "loading the data"
    assert words.splitlines()[-1] == '  File "/home/study.py", line 18 in train'
    assert "logging.cc" not in words


def test_an_error_of_python_that_ends_it_is_told(left: SimpleNamespace) -> None:
    left.remains = Remains("Fatal Python error: none_dealloc: deallocating None\n\nThread 0x1", 2)
    assert examined(died(NO_WORD), PROCESS).why == "fatal Python error: none_dealloc: deallocating None"


@pytest.mark.parametrize(("before", "after", "why"), [(2, 2, deaths.SILENT), (None, 3, deaths.SILENT)])
def test_the_kernel_is_not_blamed_for_what_it_did_not_count(
    before: int | None, after: int, why: str, left: SimpleNamespace
) -> None:
    left.remains = Remains(memory_kills=after)
    assert examined(died(NO_WORD), PROCESS._replace(memory_kills=before)).why == why


def test_memory_is_told_with_its_figures(left: SimpleNamespace) -> None:
    left.remains = Remains(memory_kills=3, memory_limit=8 * 10**9)
    of_kernel, of_ray = examined(died(NO_WORD), PROCESS), examined(OutOfMemoryError(BY_RAY), PROCESS)
    assert (of_kernel.why, of_ray.why) == (deaths.BY_KERNEL, deaths.BY_RAY)
    assert of_kernel.memory == "its count of such kills rose from 2 to 3, of 8 GB there"
    assert of_ray.memory == "2.24 of 23.54 GB were in use there, 0.30 GB by it"
    assert examined(died(EXIT_CODE), PROCESS).memory == "", "it left by itself"


def test_what_is_kept_of_a_failure_tells_process_log_and_attempts() -> None:
    last = Death("SIGSEGV (segmentation fault)", "192.0.2.2", 7, "gpu-3", "/tmp/7.err", words="Fatal Python error")
    kept = failure_by("train", died(NO_WORD), [Death("ended by ray.kill"), last])
    assert (kept["stage"], kept["cause"]) == ("train", "its process died: SIGSEGV (segmentation fault)")
    assert (kept["host"], kept["pid"], kept["log"], kept["attempts"]) == ("gpu-3", 7, "/tmp/7.err", 2)
    assert "memory" not in kept
    assert "process 7 on node gpu-3 (192.0.2.2), log /tmp/7.err" in kept["traceback"]
    assert kept["traceback"].endswith("The end of its log:\nFatal Python error\n")


def test_a_long_log_is_kept_from_where_its_signal_is(tmp_path: Path) -> None:
    before, after = [f"before {number}" for number in range(100)], [f"after {number}" for number in range(100)]
    log = tmp_path / "log"
    log.write_text("\n".join([*before, "*** SIGSEGV received at time=1 ***", *after]))
    lines = whereabouts.last_words(str(log)).splitlines()
    assert (lines[0], len(lines)) == (f"before {100 - whereabouts.LINES_BEFORE}", whereabouts.MOST_LINES)
    log.write_text("\n".join(["x" * 10**6, *before, ""]))
    assert whereabouts.last_words(str(log)).splitlines() == before[-whereabouts.MOST_LINES :]
    assert whereabouts.last_words("") == whereabouts.last_words(str(tmp_path / "nothing")) == ""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose kernel's files are in a folder, of which a container sees its own group as the root."""
    (tmp_path / "cgroup").write_text("0::/docker/1\n4:memory:/docker/1\n")
    monkeypatch.setattr(allotted, "OWN_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(allotted, "CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(whereabouts, "VMSTAT", tmp_path / "vmstat")
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_kills_for_memory_are_counted_by_the_group_or_the_machine(machine: Path) -> None:
    assert whereabouts.memory_kills() is None
    write(machine / "vmstat", "nr_free_pages 5\noom_kill 9\n")
    assert whereabouts.memory_kills() == 9
    write(machine / "fs" / "memory" / "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n")
    assert whereabouts.memory_kills() == 4
    write(machine / "fs" / "memory.events", "low 0\noom 2\noom_kill 3\noom_group_kill 0\n")
    assert whereabouts.memory_kills() == 3


def test_the_memory_that_a_process_could_have_is_the_least_of_all_limits(machine: Path) -> None:
    whole = whereabouts.look("").memory_limit
    write(machine / "fs" / "memory.max", "max\n")
    assert whereabouts.look("").memory_limit == whole
    write(machine / "fs" / "memory.max", "1048576\n")
    assert whereabouts.look("").memory_limit == 1048576


@pytest.mark.slow
def test_a_process_knows_its_log_and_what_is_left_of_it_is_found_on_any_node(tmp_path: Path) -> None:
    shared_ray.connect()
    found: Any = ray.get(ray.remote(whereabouts.here).remote())
    assert found.log.endswith(f"-{found.pid}.err")
    assert Path(found.log).exists()
    (tmp_path / "log").write_text("last words")
    own = found._replace(log=str(tmp_path / "log"))
    assert whereabouts.remains_of(own) == whereabouts.asked_of_its_node(own)
    assert whereabouts.remains_of(own).words == "last words"
    nowhere = whereabouts.remains_of(own._replace(node="ab" * 28))
    assert nowhere == Remains("last words"), "its node is gone, and the disk is shared"
    assert os.getpid() != found.pid


class Fatal:
    """A job whose study ends the process that asks for it."""

    @property
    def study(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.slow
def test_a_row_whose_processes_crash_fails_with_signal_process_log_and_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_ray.connect()
    monkeypatch.setattr(fan_out, "ATTEMPTS", 2)
    row = toy_rows.all_rows(plan.make(toy_rows.load(), Store(str(tmp_path))))[0]
    group = placement_group([{"CPU": 1}])
    told: list[Death] = []
    rows = fan_out.FanOut(
        [row],
        lambda one, seat: seat.begin().compute_row.remote(Fatal(), row, {}, one.attempt, True),
        Place(group, 0, Share({"CPU": 1})),
        died=told.append,
    )
    try:
        ((_, outcome),) = rows.outcomes()
    finally:
        remove_placement_group(group)
    assert isinstance(outcome, Outcome)
    failure = outcome.failure or {}
    assert failure["cause"] == "its process died: SIGSEGV (segmentation fault)"
    assert (failure["attempts"], failure["host"]) == (2, socket.gethostname())
    assert f"-{failure['pid']}.err" in failure["log"]
    assert "in study\n" in failure["traceback"], "the stack is told"
    assert [death.why for death in told] == ["SIGSEGV (segmentation fault)"] * 2
    assert told[0].pid != told[1].pid == failure["pid"]
