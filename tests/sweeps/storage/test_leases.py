"""Of two runs that want the same work at most one has it, and what a dead run held is free again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.storage.files import Files
from sweeps.storage.leases import ABANDONED_AFTER_S, FOLDER, Leases, runs_at_work
from tests.support import processes


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["disk", "object store", "S3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "S3":
        return Files(request.getfixturevalue("s3")())
    return Files(str(tmp_path) if request.param == "disk" else "mock:///bucket/runs")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ours(files: Files, clock: Clock) -> Iterator[Leases]:
    with Leases(files, "toy", clock=clock) as leases:
        yield leases


@pytest.fixture
def theirs(files: Files) -> Iterator[Leases]:
    with Leases(files, "toy", beat_every_s=0.05) as leases:
        yield leases


def names(files: Files) -> set[str]:
    return {file.name.partition("@")[0] for file in files.list(FOLDER, recursive=True) if file.name[0] == "c"}


def test_what_another_run_has_cannot_be_claimed(ours: Leases, theirs: Leases) -> None:
    assert ours.claim({"pretrain-1"})
    assert not theirs.claim({"pretrain-1"})
    assert theirs.claim({"pretrain-2"})
    assert ours.taken().keys() == {"pretrain-2"}
    assert theirs.taken().keys() == {"pretrain-1"}


def test_a_claim_is_all_or_nothing(ours: Leases, theirs: Leases, files: Files) -> None:
    assert theirs.claim({"pretrain-1"})
    assert not ours.claim({"base", "pretrain-1"})
    assert names(files) == {"claims/pretrain-1"}
    assert theirs.claim({"base"})


def test_what_is_released_is_free(ours: Leases, theirs: Leases) -> None:
    assert ours.claim({"base", "pretrain-1"})
    ours.release({"base", "never claimed"})
    assert theirs.claim({"base"})
    assert not theirs.claim({"pretrain-1"})


def test_a_run_that_ends_leaves_nothing(files: Files, ours: Leases) -> None:
    with Leases(files, "toy") as others:
        assert others.claim({"base"})
    assert ours.claim({"base"})
    ours.release({"base"})
    assert [file.name.partition("/")[0] for file in files.list(FOLDER, recursive=True)] == ["runs"]


def test_a_silent_run_is_dead_only_after_the_time_agreed(files: Files, ours: Leases, clock: Clock) -> None:
    stuck = Leases(files, "toy")
    stuck._me = stuck._me._replace(machine="another machine")
    stuck._beat()
    assert stuck.claim({"base"})
    assert not ours.claim({"base"})
    clock.now += ABANDONED_AFTER_S - 1
    assert not ours.claim({"base"})
    clock.now += 1
    assert ours.claim({"base"})
    assert stuck.taken().keys() == {"base"}, "it wakes up and can see that its claim was taken"


def test_a_run_that_beats_is_never_dead(tmp_path: Path, clock: Clock) -> None:
    files = Files(str(tmp_path))
    with Leases(files, "toy", clock=clock) as ours, Leases(files, "toy", beat_every_s=0.05) as theirs:
        theirs._me = theirs._me._replace(machine="another machine")
        assert theirs.claim({"base"})
        for _ in range(4):
            assert not ours.claim({"base"})
            before = {file for file in files.list(f"{FOLDER}/runs") if theirs._id in file.name}
            renewed = partial(lambda before: before.isdisjoint(files.list(f"{FOLDER}/runs")), before)
            processes.wait_until(renewed, "a heartbeat")
            clock.now += ABANDONED_AFTER_S - 1


def test_a_process_killed_on_this_machine_is_dead_at_once(tmp_path: Path) -> None:
    program = (
        "import sys, time; from sweeps.storage.files import Files; from sweeps.storage.leases import Leases\n"
        "leases = Leases(Files(sys.argv[1]), 'toy')\n"
        "with leases:\n leases.claim({'base'}); print('claimed', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "claimed\n"
    with Leases(Files(str(tmp_path)), "toy") as ours:
        assert not ours.claim({"base"})
        assert {run.pid for run in runs_at_work(Files(str(tmp_path)), "toy")} >= {holder.pid}
        holder.kill()
        holder.communicate()
        assert ours.claim({"base"})
        assert holder.pid not in {run.pid for run in runs_at_work(Files(str(tmp_path)), "toy")}


def test_at_the_same_moment_at_most_one_run_claims(tmp_path: Path) -> None:
    runs = [Leases(Files(str(tmp_path)), "toy") for _ in range(3)]
    for run in runs:
        run._beat()
    with ThreadPoolExecutor(len(runs)) as pool:
        for attempt in range(20):
            start = threading.Barrier(len(runs))

            def claim(run: Leases, start: threading.Barrier = start, work: str = f"base-{attempt}") -> bool:
                start.wait()
                return run.claim({work})

            assert sum(pool.map(claim, runs)) <= 1


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("cr"), st.sets(st.sampled_from("abcd"), min_size=1)), max_size=15
    )
)
def test_no_two_runs_ever_hold_the_same(steps: list[tuple[int, str, set[str]]]) -> None:
    files = Files("mock:///bucket/runs")
    runs = [Leases(files, "toy") for _ in range(3)]
    for run in runs:
        run._beat()
    held: list[set[str]] = [set(), set(), set()]
    for number, action, work in steps:
        others = set().union(*(held[other] for other in range(3) if other != number))
        if action == "c":
            claimed = runs[number].claim(work)
            assert claimed == others.isdisjoint(work)
            if claimed:
                held[number] |= work
        else:
            runs[number].release(work)
            held[number] -= work
