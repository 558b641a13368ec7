"""Of two runs that want the same work at most one has it, and what a dead run held is free again."""

from __future__ import annotations

import signal
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

from sweeps.errors import StorageError
from sweeps.storage.files import Files
from sweeps.storage.leases import ABANDONED_AFTER_S, FOLDER, Leases, runs_at_work, still_claimed
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
        assert {at_work.run.pid for at_work in runs_at_work(Files(str(tmp_path)), "toy")} >= {holder.pid}
        holder.kill()
        holder.communicate()
        assert ours.claim({"base"})
        assert holder.pid not in {at_work.run.pid for at_work in runs_at_work(Files(str(tmp_path)), "toy")}


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


@pytest.fixture
def own_clock() -> Clock:
    return Clock()


@pytest.fixture
def sleeper(files: Files, own_clock: Clock) -> Iterator[Leases]:
    """A run that can be stopped: its clock goes on, its heart does not beat."""
    with Leases(files, "toy", beat_every_s=3600, own_clocks=[own_clock]) as leases:
        leases._beat_every_s = 10
        leases._me = leases._me._replace(machine="another machine")
        leases._beat()
        yield leases


def test_a_run_that_was_stopped_while_another_took_over_finds_out(
    sleeper: Leases, ours: Leases, clock: Clock, own_clock: Clock
) -> None:
    assert sleeper.claim({"base"})
    assert not ours.claim({"base"})
    clock.now += ABANDONED_AFTER_S
    own_clock.now += ABANDONED_AFTER_S + 20
    assert ours.claim({"base"})
    assert not sleeper.lost, "so far nobody has looked"
    assert "has not heard of this run for 80 seconds" in sleeper.check()
    assert sleeper.lost
    assert not sleeper.claim({"pretrain-1"})
    assert ours.taken() == {}, "it stands back"
    assert not ours.check()


def test_a_run_whose_claims_were_cleared_away_finds_out(
    sleeper: Leases, ours: Leases, clock: Clock, own_clock: Clock
) -> None:
    assert sleeper.claim({"base"})
    ours.taken()
    clock.now += ABANDONED_AFTER_S
    own_clock.now += ABANDONED_AFTER_S
    assert ours.taken() == {}
    assert sleeper.check()


def test_a_pause_that_no_clock_shows_is_noticed_by_the_next_beat(sleeper: Leases, ours: Leases, clock: Clock) -> None:
    assert sleeper.claim({"base"})
    ours.taken()
    clock.now += ABANDONED_AFTER_S
    assert ours.claim({"base"})
    assert not sleeper.check()
    sleeper._beat()
    assert sleeper.check()


def test_a_run_that_was_stopped_and_not_missed_goes_on(
    sleeper: Leases, ours: Leases, clock: Clock, own_clock: Clock
) -> None:
    assert sleeper.claim({"base"})
    own_clock.now += 1000
    assert not sleeper.check()
    assert sleeper.claim({"pretrain-1"})
    clock.now += ABANDONED_AFTER_S - 1
    assert ours.taken().keys() == {"base", "pretrain-1"}


def test_while_the_heart_beats_nothing_is_asked(sleeper: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("exists", "list", "publish"):
        monkeypatch.setattr(sleeper._files, name, None)
    assert sleeper.check() == sleeper.lost == ""


def test_runs_that_could_not_reach_the_storage_do_not_take_each_other_for_dead(files: Files) -> None:
    clocks = [Clock(), Clock()]
    runs = [Leases(files, "toy", clock=each, own_clocks=[each]) for each in clocks]
    for number, run in enumerate(runs):
        run._me = run._me._replace(machine=f"machine {number}")
        run._beat()
        assert run.claim({f"base-{number}"})
    for run in runs:
        run.taken()
    for each in clocks:
        each.now += 2 * ABANDONED_AFTER_S
    assert runs[0].taken().keys() == {"base-1"}
    assert runs[1].taken().keys() == {"base-0"}
    assert [run.check() for run in runs] == ["", ""]


def test_a_claim_that_cannot_be_removed_is_removed_later(
    ours: Leases, theirs: Leases, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*names: str) -> None:
        raise StorageError("the storage does not answer")

    assert theirs.claim({"base", "pretrain-1"})
    with monkeypatch.context() as patch:
        patch.setattr(files, "delete", fail)
        theirs.release({"base"})
        assert ours.taken().keys() == {"base", "pretrain-1"}
    processes.wait_until(lambda: names(files) == {"claims/pretrain-1"}, "the next heartbeat")
    assert ours.claim({"base"})


def test_a_claim_that_fails_half_way_is_taken_back(
    ours: Leases, theirs: Leases, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*names: str, **options: bool) -> None:
        raise StorageError("the storage does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(theirs, "taken", fail)
        with pytest.raises(StorageError):
            theirs.claim({"base"})
    processes.wait_until(lambda: names(files) == set(), "the next heartbeat")
    assert ours.claim({"base"})


def test_many_claims_take_one_look(ours: Leases, theirs: Leases, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    assert theirs.claim({"base", "b"})
    look, looks = files.list, list[str]()

    def count(folder: str, **options: bool) -> object:
        looks.append(folder)
        return look(folder, **options)

    monkeypatch.setattr(files, "list", count)
    assert ours.claim_each([{"a"}, {"b", "c"}, {"c", "d"}, {"a", "e"}, set()]) == [True, False, True, True, True]
    assert len(looks) == 1
    assert {*ours._mine} == {"a", "c", "d", "e"}
    assert names(files) == {f"claims/{work}" for work in ("a", "b", "base", "c", "d", "e")}


def test_a_worker_can_ask_whether_its_work_is_still_its_runs(ours: Leases, files: Files) -> None:
    assert ours.claim({"base"})
    assert still_claimed(files, "base", ours.id)
    assert not still_claimed(files, "base", "another")
    ours.release({"base"})
    assert not still_claimed(files, "base", ours.id)


def test_a_run_that_cannot_be_read_lives_as_long_as_its_heart_beats(
    ours: Leases, theirs: Leases, files: Files, clock: Clock
) -> None:
    files.publish(f"{FOLDER}/runs/0123.json", b"{}")
    files.publish(f"{FOLDER}/claims/base@0123", b"")
    assert not ours.claim({"base"})
    clock.now += ABANDONED_AFTER_S
    assert ours.claim({"base"})


def test_threads_share_a_runs_claims(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    with Leases(files, "toy", beat_every_s=0.001) as leases, ThreadPoolExecutor(4) as pool:

        def work(thread: int) -> bool:
            each = [f"{thread}-{number}" for number in range(10)]
            claimed = all(leases.claim({name, "base"}) for name in each)
            leases.release(each)
            return claimed and not leases.check()

        assert all(pool.map(work, range(4)))
        assert names(files) == {"claims/base"}


@pytest.mark.slow
def test_a_process_that_was_stopped_by_a_signal_finds_out(tmp_path: Path) -> None:
    program = (
        "import sys; from sweeps.storage.files import Files; from sweeps.storage.leases import Leases\n"
        "with Leases(Files(sys.argv[1]), 'toy', beat_every_s=0.2, abandoned_after_s=2) as leases:\n"
        " leases._me = leases._me._replace(machine='another machine'); leases._beat()\n"
        " print(leases.claim({'base'}), flush=True); sys.stdin.readline(); print(leases.check(), flush=True)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    stopped = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert stopped.stdin is not None
    assert stopped.stdout is not None
    with stopped, Leases(Files(str(tmp_path)), "toy", abandoned_after_s=2) as ours:
        assert stopped.stdout.readline() == "True\n"
        assert not ours.claim({"base"})
        stopped.send_signal(signal.SIGSTOP)
        processes.wait_until(lambda: ours.claim({"base"}), "the lease to run out")
        stopped.send_signal(signal.SIGCONT)
        stopped.stdin.write("\n")
        stopped.stdin.flush()
        assert "another run has taken over its work" in stopped.stdout.readline()
        assert stopped.wait() == 0
        assert names(ours._files) == {"claims/base"}


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


def test_what_is_wrong_with_the_news_does_not_stop_the_heart(files: Files) -> None:
    told: list[object] = []

    def news() -> dict[str, object]:
        told.append(object())
        return {"epoch": told[-1]}  # of which JSON knows nothing

    leases = Leases(files, "toy", beat_every_s=0.05)
    leases.news = news
    with leases:
        processes.wait_until(lambda: len(told) > 3, "the heart to beat")
        (at_work,) = runs_at_work(files, "toy")
        assert at_work.news == {}
        assert not at_work.is_silent
    assert runs_at_work(files, "toy") == []
