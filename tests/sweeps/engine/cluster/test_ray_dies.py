"""Ray itself dies while a sweep runs: the run ends soon, with a sentence, and the same command resumes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pandas as pd
import pytest
import ray
from ray._private import worker

from benchmarks.nodes import Nodes
from sweeps.engine.cluster import watch
from sweeps.errors import StoppedError
from tests.support import processes, shared_ray
from tests.support.toy_run import ToyRun


class Context:
    gcs_address = "10.0.0.7:6379"

    def get_node_id(self) -> str:
        return "ab12"


@pytest.fixture
def greeted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[bool]], None]:
    """Return a function by which a head of Ray answers or not, whenever it is greeted."""
    monkeypatch.setattr(ray, "get_runtime_context", Context)
    monkeypatch.setattr(ray, "nodes", lambda: [{"NodeID": "ab12", "Alive": True}])
    monkeypatch.setattr(worker, "_global_node", None)
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.01)
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "0.4")

    def as_told(answers: Iterator[bool]) -> None:
        def greet(host: str, port: int, timeout_s: float) -> None:
            assert (host, port) == ("10.0.0.7", 6379)
            if not next(answers):
                raise ConnectionRefusedError("refused")

        monkeypatch.setattr(watch, "greet", greet)

    return as_told


def answers(*each: bool, then: bool) -> Iterator[bool]:
    yield from each
    while True:
        yield then


def test_a_head_that_is_silent_for_long_ends_the_run(greeted: Callable[[Iterator[bool]], None]) -> None:
    greeted(answers(True, True, then=False))
    began = time.monotonic()
    with pytest.raises(StoppedError, match="^the Ray at head has died: its head has not answered for 0.2 s"):  # noqa: SIM117
        with watch.watched("at head", leave=None):
            threading.Event().wait(30)
    assert 0.2 <= time.monotonic() - began < 10


def test_a_head_may_come_back(greeted: Callable[[Iterator[bool]], None]) -> None:
    greeted(answers(True, False, False, then=True))
    with watch.watched("at head", leave=None):
        time.sleep(0.5)


def test_the_node_that_the_run_is_connected_to_has_died(
    greeted: Callable[[Iterator[bool]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    greeted(answers(then=True))
    monkeypatch.setattr(ray, "nodes", lambda: [{"NodeID": "ab12", "Alive": False}, {"NodeID": "cd34", "Alive": True}])
    left: list[str] = []
    with pytest.raises(StoppedError, match="its node that this run is connected to has died"):  # noqa: SIM117
        with watch.watched("at head", leave=lambda: left.append("Ray")):
            threading.Event().wait(30)
    assert left == ["Ray"]


def test_what_ray_raises_when_it_dies_is_not_what_is_told(greeted: Callable[[Iterator[bool]], None]) -> None:
    greeted(answers(then=False))
    with pytest.raises(StoppedError, match="its head does not answer"), watch.watched("at head", leave=None):
        raise ConnectionError("of Ray")
    greeted(answers(then=True))
    with pytest.raises(ConnectionError, match="of ours"), watch.watched("at head", leave=None):
        raise ConnectionError("of ours")


@pytest.mark.slow
def test_the_node_of_a_private_ray_is_killed(toy: ToyRun, undisturbed: pd.DataFrame) -> None:
    driver = toy.started("seconds=0.3", until=lambda: toy.rows_there() >= 1)
    below = processes.descendants(driver.pid)
    (raylet,) = [pid for pid in below if processes.command(pid).partition(" ")[0].endswith("/raylet")]
    os.kill(raylet, signal.SIGKILL)
    said = driver.communicate(timeout=60)[0]
    check_ended(said, driver.returncode, "of this run has died: its process raylet has ended")
    resume(toy, undisturbed)


@pytest.mark.slow
def test_the_head_of_a_cluster_is_killed(
    toy: ToyRun, undisturbed: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "20")
    with Nodes(1, slots=2) as nodes:
        driver = processes.start(*toy.arguments("seconds=0.3"), "--address", nodes.address)
        processes.wait_until(lambda: toy.rows_there() >= 1 or driver.poll() is not None, "the first row")
        os.kill(nodes.gcs, signal.SIGKILL)
        said = driver.communicate(timeout=60)[0]
        check_ended(said, driver.returncode, f"at {nodes.address} has died: its head ")
    resume(toy, undisturbed)


def check_ended(said: str, status: int, why: str) -> None:
    last = said.splitlines()[-1]
    assert status == 1, said
    assert last.startswith(f"Error: the Ray {why}"), said
    assert last.endswith("finished rows are published, and the same command resumes")
    assert "Traceback" not in said


def resume(toy: ToyRun, undisturbed: pd.DataFrame) -> None:
    before = toy.snapshot()
    shared_ray.connect()
    toy.run_here()
    assert before.items() <= toy.snapshot().items()
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed)
