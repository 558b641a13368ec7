"""Results of code that changed since are seen, said, and computed again where that is asked for: once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweeps import load_results, running
from sweeps.engine import tasks
from sweeps.engine.job import job_of
from sweeps.errors import SpecError
from sweeps.planning import fingerprints, plan
from sweeps.planning.fingerprints import fingerprint, merged
from sweeps.reporting.reports import write_report
from sweeps.spec import Spec
from sweeps.storage import Store
from sweeps.study import Cell
from tests.sweeps.conftest import text
from tests.sweeps.engine.test_shapes import Five, compute, load

Change = Callable[[str], None]


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Change:
    """Return a function that edits what a label is of; each stage is of a label of its own name."""
    versions: dict[str, int] = {}

    def code(study: Five, name: str, cell: Cell) -> dict[str, list[str]]:
        return {"scores" if name == "fourth" else name: [name]}

    monkeypatch.setattr(Five, "code", code)
    monkeypatch.setattr("sweeps.planning.fingerprints.fingerprint", lambda modules: f"{versions.get(modules[0], 0)}")

    def edit(name: str) -> None:
        versions[name] = versions.get(name, 0) + 1

    return edit


@pytest.fixture
def loaded() -> Spec:
    return load("Five")


@pytest.fixture
def finished(loaded: Spec, store: Store, change: Change) -> Store:
    compute(loaded, store, plan.make(loaded, store))
    return store


def said(loaded: Spec, store: Store, **options: Any) -> list[str]:
    return list(plan.make(loaded, store, **options).code.sentences())


def test_of_todays_code_nothing_is_said(loaded: Spec, finished: Store) -> None:
    assert said(loaded, finished) == []


def test_a_changed_method_is_named_with_all_that_was_made_from_it(
    loaded: Spec, finished: Store, change: Change, console: Console
) -> None:
    change("fourth")
    assert len(plan.make(loaded, finished).finished) == 8, "what is finished stays so"
    running.prepare(loaded, finished, console)
    sentence = (
        "8 rows and 4 checkpoints were made by another version of scores; --recompute scores computes them again, "
        "and so does raising the `version` of what changed"
    )
    assert text(console) == f"{sentence}\n"
    write_report(finished.describe("shape"), console)
    assert sentence in text(console)
    assert "made by another version of scores" in finished.files.read("shape/report/report.html").decode()


def test_what_reads_a_changed_result_is_of_other_code_too(loaded: Spec, finished: Store, change: Change) -> None:
    change("second")
    (sentence,) = said(loaded, finished)
    # Two of the second stage itself, and four that read them.
    assert sentence.startswith("8 rows and 6 checkpoints were made by another version of second; ")


def test_asked_for_it_is_computed_again_and_replaced_once(loaded: Spec, finished: Store, change: Change) -> None:
    change("fourth")
    before = finished.published_at("shape")
    planned = plan.make(loaded, finished, recompute=["scores"])
    assert (len(planned.finished), planned.missing) == (0, 8)
    assert list(planned.checkpoints_to_train().values()) == 4 * ["fourth"]
    assert list(planned.code.sentences()) == [
        "8 rows and 4 checkpoints were made by another version of scores and are computed again"
    ]
    assert {outcome.failure for _, outcome in compute(loaded, finished, planned, recompute=["scores"])} == {None}
    again = finished.published_at("shape")
    assert again.keys() == before.keys()
    assert all(again[key] > before[key] for key in before)
    assert said(loaded, finished) == []
    # What a trial that is started once more finds is of today's code.
    seconds = [outcome.seconds for _, outcome in compute(loaded, finished, planned, recompute=["scores"])]
    assert seconds == 8 * [0.0]
    assert finished.published_at("shape") == again
    assert plan.make(loaded, finished, recompute=["scores"]).todo == []


def test_half_of_it_goes_on_where_it_stopped(loaded: Spec, finished: Store, change: Change) -> None:
    change("measure")
    planned = plan.make(loaded, finished, recompute=["measure"])
    planned.todo[2:] = []
    compute(loaded, finished, planned, recompute=["measure"])
    assert len(load_results(finished.describe("shape"))) == 8, "the others are there meanwhile"
    left = plan.make(loaded, finished, recompute=["measure"])
    assert (len(left.finished), left.missing) == (4, 4)


def test_what_failed_when_it_was_computed_again_has_failed_until_that_is_retried(
    loaded: Spec, finished: Store, change: Change
) -> None:
    change("measure")
    again = plan.make(loaded, finished, recompute=["measure"])
    row = again.todo[0].rows[0]
    job = job_of(loaded, finished, recompute=["measure"])
    tasks.record_failure(job, row, tasks.failure_of("measure", ArithmeticError("no number")))
    published, failed = tasks.settled(job, again.todo[0].rows)
    assert (str(row.key) in published, failed) == (False, {str(row.key)}), "a trial that comes back lets it be"
    planned = plan.make(loaded, finished, recompute=["measure"])
    assert planned.failed == {str(row.key)}
    assert planned.missing == again.missing - 1
    assert plan.make(loaded, finished, recompute=["measure"], retry_failed=True).missing == again.missing
    assert plan.make(loaded, finished).failed == set(), "its published row stands"


def test_without_being_asked_nothing_is_replaced(loaded: Spec, finished: Store, change: Change) -> None:
    change("fourth")
    before = finished.published_at("shape")
    compute(loaded, finished, plan.make(loaded, finished))
    assert finished.published_at("shape") == before


def test_results_of_before_are_not_called_stale_and_can_be_computed_again(
    loaded: Spec, finished: Store, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    change("first")
    monkeypatch.setattr(Store, "row_codes", lambda store, sweep, **options: {})
    monkeypatch.setattr(Store, "checkpoint_metas", lambda store, keys: [{"seconds": 1.0} for _ in keys])
    assert said(loaded, finished) == []
    assert plan.make(loaded, finished, recompute=["first"]).missing == 8


def test_an_unknown_label_is_refused_with_those_there_are(loaded: Spec, finished: Store) -> None:
    with pytest.raises(SpecError) as caught:
        plan.make(loaded, finished, recompute=["fourht"])
    assert str(caught.value) == "--recompute: found 'fourht', expected one of first, measure, scores, second, third"


def test_the_code_of_what_was_read_counts_where_it_is_older() -> None:
    assert merged({"a": "2", "b": "1"}, [{"a": "1"}, {"c": "3"}]) == {"a": "1", "b": "1", "c": "3"}
    assert merged({"a": "1"}, [{"a": "1"}]) == {"a": "1"}


SOURCE = '''
"""Says something."""

def add(x, y):
    """Adds."""
    return x + y  # of two numbers
'''


@pytest.mark.parametrize(
    ("edited", "same"),
    [
        (SOURCE.replace("Adds.", "Adds two numbers."), True),
        (SOURCE.replace("# of two numbers", "# of numbers"), True),
        (SOURCE.replace("    return", "\n\n    return"), True),
        (SOURCE.replace("x + y", "x - y"), False),
        (SOURCE.replace("x + y", "x + y + 0"), False),
        ("not python at all", False),
    ],
)
def test_comments_docstrings_and_layout_are_no_code(
    edited: str, same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "a_method_of_someones.py"

    def found(source: str) -> str:
        fingerprints.fingerprint.cache_clear()
        fingerprints._source.cache_clear()
        file.write_text(source)
        return fingerprint(("a_method_of_someones",))

    assert (found(SOURCE) == found(edited)) == same
