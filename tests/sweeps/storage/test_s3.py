"""A whole sweep on S3: planned, published, loaded, and read by plain pandas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pandas as pd
import pytest

from benchmarks import storage as benchmark
from sweeps import load_results
from sweeps.errors import StorageError
from sweeps.planning import plan
from sweeps.storage import Store, compaction
from sweeps.storage.backends import notices, retry
from tests.support import counting_proxy, toy_rows, toy_study
from tests.support.counting_proxy import Proxy
from tests.sweeps.conftest import Uri

AXES = [axis.name for axis in toy_study.ToyStudy.axes]


@pytest.fixture
def store(s3: Uri) -> Store:
    return Store(s3())


def test_a_sweep_is_planned_published_and_loaded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = toy_rows.load()
    rows = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.publish(store, loaded, rows[:10])
    assert plan.make(loaded, store).missing == toy_study.ROWS - 10
    toy_rows.publish(store, loaded, rows[10:])
    assert plan.make(loaded, store).todo == []
    monkeypatch.setattr(compaction, "WORTH_KEEPING", 1)
    first, again = (load_results(store.describe("toy")) for _ in range(2))
    assert store.files.list("toy/cache")
    assert len(first) == toy_study.ROWS
    pd.testing.assert_frame_equal(first, again)
    plain = pd.read_parquet(store.describe("toy/results")).sort_values(AXES, ignore_index=True)
    pd.testing.assert_frame_equal(first, plain)


@pytest.fixture
def counted(s3: Uri, s3_endpoint: str) -> Iterator[tuple[Store, Proxy]]:
    """A storage, and what is asked of it."""
    with counting_proxy.before(s3_endpoint) as proxy:
        yield Store(s3(endpoint=f"http://127.0.0.1:{proxy.port}")), proxy


def test_a_trial_looks_up_its_own_rows_however_many_there_are(counted: tuple[Store, Proxy]) -> None:
    store, proxy = counted
    loaded = toy_rows.load()
    keys = [str(row.key) for row in toy_rows.all_rows(plan.make(loaded, store))[:9]]
    toy_rows.fail(store, loaded, toy_rows.all_rows(plan.make(loaded, store))[8:9])
    proxy.clear()
    assert store.settled("toy", keys) == (set(), {keys[8]})
    assert proxy.counts == {"HEAD": 9, "LIST": 1}


def test_a_file_is_one_request(counted: tuple[Store, Proxy]) -> None:
    store, proxy = counted
    files = store.files
    files.publish("a/first", b"")  # finds out what the store can do
    proxy.clear()
    assert files.publish("a/b", b"1" * 2**20)
    assert [(each.kind, each.size) for each in proxy.asked] == [("PUT", 2**20)]
    actions: list[tuple[Callable[[], object], str]] = [
        (lambda: files.publish("a/b", b"2", replace=True), "PUT"),
        (lambda: files.read("a/b"), "GET"),
        (lambda: files.exists("a/c"), "HEAD"),
        (lambda: files.list("a"), "LIST"),
        (lambda: files.delete("a/b"), "DELETE"),
    ]
    for action, kind in actions:
        proxy.clear()
        action()
        assert proxy.counts == {kind: 1}


@pytest.mark.parametrize("way", ["503", "429", "500", "reset", "lost"])
def test_what_a_store_does_wrong_for_a_moment_changes_nothing(
    way: str, counted: tuple[Store, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, proxy = counted
    files, said = store.files, list[str]()
    files.publish("a/first", b"")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(retry, "SAID_AFTER_S", 0.0)

    def gone() -> bool:
        files.delete("a/b")
        return not files.exists("a/b")

    actions: list[Callable[[], object]] = [
        lambda: files.publish("a/b", b"ours"),
        lambda: files.publish("a/b", b"ours again", replace=True),
        lambda: files.read("a/b") == b"ours again",
        lambda: files.exists("a/b"),
        lambda: {file.name for file in files.list("a")} == {"b", "first"},
        gone,
    ]
    for number, action in enumerate(actions):
        proxy.break_next(way, way)
        with notices.listen(said.append):
            assert action(), number
        assert len(said) == 2 * (number + 1)
        assert "http://127.0.0.1" not in said[-2].partition("does not answer")[2]


def test_a_request_that_is_refused_is_not_tried_again(counted: tuple[Store, Proxy]) -> None:
    store, proxy = counted
    for way in ("403", "400"):
        proxy.clear()
        proxy.break_next(way)
        with pytest.raises(StorageError, match=f"cannot be written.*{way}"):
            store.files.publish("a/b", b"")
        assert len(proxy.asked) == 1


@pytest.mark.slow
def test_the_benchmark_finds_as_many_requests_however_many_rows_there_are(
    s3_endpoint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["storage", "--rows", "1200", "--delay-ms", "0", "--format", "json"])
    benchmark.main()
    (figures,) = json.loads(capsys.readouterr().out)
    assert figures["rows_before"] == 1200
    assert figures["requests_per_trial_start"] <= 10
    assert figures["requests_per_row"] == 2
    assert figures["requests_per_checkpoint"] == 4
    assert figures["requests_per_check_of_leases"] == 0
    assert figures["requests_per_100_claims"] == 101
