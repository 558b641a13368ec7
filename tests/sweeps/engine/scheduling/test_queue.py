"""A shared result is in the making at most once at a time, by any run, and every trial gets its turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.search import Searcher

from sweeps.engine.scheduling.queue import DEATHS, LOOK_EVERY_S, Queue
from sweeps.engine.scheduling.searcher import QueueSearcher
from sweeps.planning import plan
from sweeps.planning.keys import RowKey, StageKey
from sweeps.planning.plan import Row, Trial
from sweeps.storage import Store
from sweeps.storage.leases import Run
from tests.support import toy_rows

BASE = StageKey("base", "base-0", shared=True)
OTHER = Run("toy", "elsewhere", 7, None, None)


class AtOnce(Executor):
    """Does what it is handed before it returns."""

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(work(*given, **named))
        except Exception as error:
            done.set_exception(error)
        return done


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Claims:
    """The claims of one run, in a table that several runs share."""

    def __init__(self, table: dict[str, Claims] | None = None) -> None:
        self.table = {} if table is None else table

    def taken(self) -> dict[str, Run]:
        return {work: OTHER for work, holder in self.table.items() if holder is not self}

    def claim(self, work: Collection[str]) -> bool:
        if self.taken().keys() & set(work):
            return False
        self.table |= dict.fromkeys(work, self)
        return True

    def release(self, work: Iterable[str]) -> None:
        for each in work:
            if self.table.get(each) is self:
                del self.table[each]


def trial(number: int, *later: str) -> Trial:
    """Return a trial of one row that goes through the base and `later` stages, such as `pretrain-3`."""
    names = ("base-0", *later)
    stages = [BASE]
    stages += [StageKey(name.split("-")[0], name, True, (names[place],)) for place, name in enumerate(later)]
    # A row reads its checkpoint, and scores of it where there are any.
    reads = names[-2:] if names[-1].startswith("score") else names[-1:]
    cell: dict[str, Any] = {"number": number}
    row = Row(cell, RowKey(f"cell{number}", "0"), tuple(stages), reads, None, cell)
    return Trial(number=number, label=str(number), cell=row.cell, rows=(row,))


def queue(trials: Sequence[Trial], published: Collection[str] = (), claims: Claims | None = None) -> Queue:
    return Queue("toy", trials, published, claims or Claims(), Clock(), executor=AtOnce())


def start(waiting: Queue) -> int | None:
    """Return the number of the trial that starts now, if one does."""
    found = waiting.next()
    return found.trial.number if found is not None else None


def test_siblings_wait_until_their_result_is_published() -> None:
    waiting = queue([trial(0, "pretrain-0"), trial(1, "pretrain-0")], {"base-0"})
    leader = waiting.next()
    assert leader is not None
    assert leader.computes == {"pretrain-0"}
    assert start(waiting) is None
    waiting.published("pretrain-0")
    sibling = waiting.next()
    assert sibling is not None
    assert sibling.computes == frozenset()
    assert waiting.nothing_waits
    assert not waiting.over
    for number in (0, 1):
        waiting.ended(number, died=False)
    assert waiting.over


def test_all_wait_for_the_base_and_then_lead_side_by_side() -> None:
    waiting = queue([trial(0, "pretrain-0"), trial(1, "pretrain-1")])
    assert start(waiting) == 0
    assert start(waiting) is None
    waiting.published("base-0")
    assert start(waiting) == 1


def test_the_lead_is_handed_on_when_a_leader_ends_without_a_result() -> None:
    waiting = queue([trial(number, "pretrain-0") for number in range(3)])
    assert start(waiting) == 0
    waiting.ended(0, died=False)
    assert start(waiting) == 1
    assert start(waiting) is None


def test_trials_with_everything_published_go_first_and_else_the_grid_decides() -> None:
    trials = [trial(0, "pretrain-0"), trial(1, "pretrain-1", "score-1"), trial(2, "pretrain-2"), trial(3, "pretrain-0")]
    waiting = queue(trials, {"base-0", "pretrain-2"})
    assert [start(waiting) for _ in range(4)] == [2, 0, 1, None]
    waiting.published("pretrain-0")
    assert start(waiting) == 3


def test_nobody_waits_for_a_result_that_nobody_will_compute() -> None:
    # The base was removed, but what was made from it is there.
    waiting = queue([trial(0, "pretrain-0"), trial(1, "pretrain-0")], {"pretrain-0"})
    assert [start(waiting) for _ in range(2)] == [0, 1]


def test_a_trial_whose_process_died_comes_back_until_it_died_too_often_in_a_row() -> None:
    waiting = queue([trial(0, "pretrain-0")])
    for _ in range(2 * DEATHS):
        assert start(waiting) == 0
        waiting.made_progress(0)
        assert waiting.ended(0, died=True) is None
    for _ in range(DEATHS - 2):
        assert start(waiting) == 0
        assert waiting.ended(0, died=True) is None
    assert start(waiting) == 0
    given_up = waiting.ended(0, died=True)
    assert given_up is not None
    assert given_up.number == 0
    assert waiting.over


def test_a_lost_result_is_computed_again_by_one_trial_and_the_others_wait() -> None:
    waiting = queue([trial(number, "pretrain-0") for number in range(3)], {"base-0", "pretrain-0"})
    assert [start(waiting) for _ in range(2)] == [0, 1]
    for number in (0, 1):
        waiting.lost(number, "pretrain-0")
    assert start(waiting) == 2, "it has not looked yet, and computes now"
    for number in (0, 1):
        waiting.ended(number, died=False)
    assert start(waiting) is None
    waiting.published("pretrain-0")
    assert {start(waiting), start(waiting)} == {0, 1}


def test_what_another_run_works_on_is_left_to_it_and_taken_up_when_it_lets_go() -> None:
    claims, clock = Claims(), Clock()
    other = Claims(claims.table)
    assert other.claim({"pretrain-0"})
    ours = Queue("toy", [trial(0, "pretrain-0"), trial(1, "pretrain-1")], {"base-0"}, claims, clock, executor=AtOnce())
    assert start(ours) == 1
    assert start(ours) is None
    assert ours.waits_for() == OTHER
    other.release({"pretrain-0"})
    clock.now += LOOK_EVERY_S
    assert start(ours) == 0
    assert ours.waits_for() is None


def test_two_runs_of_one_sweep_share_its_trials() -> None:
    table: dict[str, Claims] = {}
    trials = [trial(number, f"pretrain-{number}") for number in range(4)]
    runs = [Queue("toy", trials, {"base-0"}, Claims(table), Clock(), executor=AtOnce()) for _ in range(2)]
    assert [start(run) for run in (*runs, *runs, *runs)] == [0, 1, 2, 3, None, None]


def test_everything_is_given_back_at_the_end() -> None:
    claims = Claims()
    waiting = queue([trial(0, "pretrain-0")], claims=claims)
    assert start(waiting) == 0
    assert len(claims.table) == 3
    waiting.published("base-0")
    assert "base-0" not in claims.table
    waiting.ended(0, died=False)
    assert claims.table == {}


class TestSearcher:
    """What Tune asks reaches the queue."""

    def test_tune_is_told_what_starts_what_waits_and_when_all_is_over(self) -> None:
        searcher = QueueSearcher(queue([trial(0, "pretrain-0"), trial(1, "pretrain-0")]), {"job": "toy"}, print)
        suggested = searcher.suggest("a")
        assert isinstance(suggested, dict)
        assert (suggested["job"], suggested["trial"].number) == ("toy", 0)
        assert suggested["computes"] == {"base-0", "pretrain-0"}
        assert searcher.suggest("b") is None
        for key in ("base-0", "pretrain-0"):
            searcher.on_trial_result("a", {"published": key})
        assert isinstance(searcher.suggest("b"), dict)
        searcher.on_trial_complete("b")
        assert searcher.suggest("c") is None, "a may come back"
        searcher.on_trial_complete("a")
        assert searcher.suggest("c") == Searcher.FINISHED

    def test_a_trial_that_dies_too_often_is_given_up(self) -> None:
        given_up: dict[int, str] = {}

        def give_up(trial: Trial, why: str) -> None:
            given_up[trial.number] = why

        searcher = QueueSearcher(queue([trial(0)]), {}, give_up)
        for attempt in range(DEATHS):
            assert isinstance(searcher.suggest(f"{attempt}"), dict)
            searcher.on_trial_complete(f"{attempt}", error=True)
        assert given_up == {0: "its process died 5 times in a row with nothing finished in between"}
        assert searcher.suggest("last") == Searcher.FINISHED

    def test_a_trial_that_a_node_cannot_run_comes_back_until_no_node_is_left(self) -> None:
        given_up: list[str] = []
        searcher = QueueSearcher(queue([trial(0)]), {}, lambda trial, why: given_up.append(why))
        told = {"unfit": "No module named 'toys'", "host": "host", "went_wrong": True}
        for number, elsewhere in enumerate([True, True, False]):
            suggested = searcher.suggest(f"{number}")
            assert isinstance(suggested, dict)
            assert suggested["unfit"] == {f"node-{before}" for before in range(number)}
            assert suggested["second"] == frozenset(), "nothing of it was tried"
            searcher.on_trial_result(f"{number}", {**told, "node": f"node-{number}", "elsewhere": elsewhere})
            searcher.on_trial_complete(f"{number}")
        assert given_up == ["no node can run it (No module named 'toys')"]
        assert searcher.suggest("last") == Searcher.FINISHED

    def test_a_trial_that_may_have_been_taken_over_comes_back(self) -> None:
        searcher = QueueSearcher(queue([trial(0)]), {}, print)
        searcher.suggest("a")
        searcher.on_trial_result("a", {"taken_over": True})
        searcher.on_trial_complete("a")
        assert isinstance(searcher.suggest("b"), dict)


def simulate(trials: Sequence[Trial], published: set[str], random: Random) -> None:
    """Let two runs work on trials, in a random order of events; some starts end before they have a result."""
    table: dict[str, Claims] = {}
    clock = Clock()
    runs = [Queue("toy", trials, published, Claims(table), clock, executor=AtOnce()) for _ in range(2)]
    published = set(published)
    to_make: dict[tuple[int, int], list[str]] = {}
    finished: Counter[int] = Counter()
    while not all(run.over for run in runs):
        clock.now += LOOK_EVERY_S
        which = random.randrange(2)
        run = runs[which]
        ours = [key for key in to_make if key[0] == which]
        if len(ours) < 4 and random.random() < 0.5:
            found = run.next()
            if found is None:
                assert run.nothing_waits or to_make, "all wait, and nobody makes what they wait for"
            else:
                for key in found.computes & published:
                    run.published(key)  # another run made it before this one could
                wanted = [key for key in found.trial.missing(published) if key in found.computes]
                to_make[which, found.trial.number] = wanted[::-1]
        elif ours:
            number = random.choice(ours)[1]
            left = to_make[which, number]
            if left and random.random() < 0.7:
                key = left.pop(0)
                assert key not in published, f"{key} was computed twice"
                published.add(key)
                run.published(key)
            else:
                del to_make[which, number]
                if not left:
                    run.made_progress(number)
                    finished[number] += 1
                run.ended(number, died=bool(left))
        in_the_making = [key for keys in to_make.values() for key in keys]
        assert len(in_the_making) == len(set(in_the_making)), "two trials make one result"
    assert table == {}


# What a trial goes through after the base: a pretraining and, perhaps, scores of it.
chains = st.tuples(st.integers(0, 2), st.integers(0, 2)).map(
    lambda drawn: (f"pretrain-{drawn[0]}", f"score-{drawn[0]}{drawn[1]}")[: 1 + drawn[1]]
)


@given(
    chains=st.lists(chains, max_size=8),
    published=st.sets(st.sampled_from(["base-0", "pretrain-0", "pretrain-1", "score-01", "score-11"])),
    seed=st.integers(0, 2**32),
)
def test_any_course_of_events_drains_all_trials_and_computes_nothing_twice(
    chains: list[tuple[str, ...]], published: set[str], seed: int
) -> None:
    simulate([trial(number, *chain) for number, chain in enumerate(chains)], published, Random(seed))


@pytest.mark.parametrize("seed", range(20))
def test_the_toy_sweep_drains(seed: int, tmp_path: Path) -> None:
    simulate(plan.make(toy_rows.load(), Store(str(tmp_path))).todo, set(), Random(seed))
