"""A shared result is in the making at most once at a time, and every trial gets its turn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.search import Searcher

from sweeps import plan
from sweeps.engine.searcher import SiblingSearcher
from sweeps.keys import RowKey, StageKey
from sweeps.plan import Row, Trial
from sweeps.storage import Store
from tests import toy_rows

BASE = StageKey("base", "base-0", shared=True)


def trial(number: int, *later: str) -> Trial:
    """Return a trial of one row that goes through the base and `later` stages, such as `pretrain-3`."""
    stages = [BASE, *(StageKey(name.split("-")[0], name, shared=True) for name in later)]  # type: ignore[arg-type]
    row = Row({"number": number}, RowKey(f"cell{number}", "0"), tuple(stages))
    return Trial(number=number, label=str(number), cell=row.cell, rows=(row,))


def start(searcher: SiblingSearcher, trial_id: str) -> int | str | None:
    """Return the number of the trial suggested, or that there is none now or none left."""
    suggested = searcher.suggest(trial_id)
    return suggested["trial"].number if isinstance(suggested, dict) else suggested


def test_siblings_wait_until_their_result_is_published() -> None:
    searcher = SiblingSearcher([trial(0, "pretrain-0"), trial(1, "pretrain-0")], {"base-0"}, {})
    assert start(searcher, "a") == 0
    assert start(searcher, "b") is None
    searcher.on_trial_result("a", {"begun": "pretrain"})
    assert start(searcher, "b") is None
    searcher.on_trial_result("a", {"published": "pretrain-0"})
    assert start(searcher, "b") == 1
    assert start(searcher, "c") == Searcher.FINISHED


def test_all_wait_for_the_base_and_then_lead_side_by_side() -> None:
    searcher = SiblingSearcher([trial(0, "pretrain-0"), trial(1, "pretrain-1")], set(), {})
    assert start(searcher, "a") == 0
    assert start(searcher, "b") is None
    searcher.on_trial_result("a", {"published": "base-0"})
    assert start(searcher, "b") == 1


@pytest.mark.parametrize("error", [True, False])
def test_the_lead_is_handed_on_when_a_leader_ends_without_a_result(error: bool) -> None:
    searcher = SiblingSearcher([trial(number, "pretrain-0") for number in range(3)], set(), {})
    assert start(searcher, "a") == 0
    searcher.on_trial_complete("a", error=error)
    assert start(searcher, "b") == 1
    assert start(searcher, "c") is None


def test_trials_with_everything_published_go_first_and_else_the_grid_decides() -> None:
    trials = [trial(0, "pretrain-0"), trial(1, "pretrain-1", "score-1"), trial(2, "pretrain-2"), trial(3, "pretrain-0")]
    searcher = SiblingSearcher(trials, {"base-0", "pretrain-2"}, {})
    assert [start(searcher, name) for name in "abcd"] == [2, 0, 1, None]
    searcher.on_trial_result("b", {"published": "pretrain-0"})
    assert start(searcher, "d") == 3


def test_nobody_waits_for_a_result_that_nobody_will_compute() -> None:
    # The base was removed, but what was made from it is there.
    searcher = SiblingSearcher([trial(0, "pretrain-0"), trial(1, "pretrain-0")], {"pretrain-0"}, {})
    assert [start(searcher, name) for name in "ab"] == [0, 1]


def test_the_rest_of_the_config_is_handed_out_with_every_trial() -> None:
    searcher = SiblingSearcher([trial(0)], set(), {"job": "toy"})
    suggested = searcher.suggest("a")
    assert isinstance(suggested, dict)
    assert suggested["job"] == "toy"


def simulate(trials: Sequence[Trial], published: set[str], random: Random) -> None:
    """Run trials, at most four at a time, in a random order of events; some end before they have a result."""
    searcher = SiblingSearcher(trials, published, {})
    published = set(published)
    to_make: dict[str, list[str]] = {}
    begun: list[int] = []
    finished = False
    while not finished or to_make:
        if not finished and len(to_make) < 4 and random.random() < 0.5:
            suggested: Any = searcher.suggest(f"trial {len(begun)}")
            if suggested == Searcher.FINISHED:
                finished = True
            elif suggested is None:
                assert any(to_make.values()), "all wait, and nobody makes what they wait for"
            else:
                to_make[f"trial {len(begun)}"] = list(suggested["trial"].missing(published))[::-1]
                begun.append(suggested["trial"].number)
        elif to_make:
            trial_id = random.choice(list(to_make))
            if to_make[trial_id] and random.random() < 0.7:
                key = to_make[trial_id].pop(0)
                assert key not in published, f"{key} was computed twice"
                published.add(key)
                searcher.on_trial_result(trial_id, {"published": key})
            else:
                searcher.on_trial_complete(trial_id, error=bool(to_make.pop(trial_id)))
        in_the_making = [key for keys in to_make.values() for key in keys]
        assert len(in_the_making) == len(set(in_the_making)), "two trials make one result"
    assert sorted(begun) == sorted(trial.number for trial in trials)


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
