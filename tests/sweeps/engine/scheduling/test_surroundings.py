"""Nodes that cannot run trials are told from trials that fail."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune

from sweeps.engine import nodes
from sweeps.engine.scheduling.beginnings import STILLBORN, Beginnings
from sweeps.engine.scheduling.health import FAILURES, Health
from sweeps.engine.scheduling.stopping import Stopping
from sweeps.engine.scheduling.stranded import Stranded


def started(name: str, status: str = "RUNNING", **config: Any) -> Any:
    options: dict[str, Any] = {"bundle_label_selector": [{}, {}]} if config.pop("chooses", bool(config)) else {}
    return SimpleNamespace(
        trial_id=name,
        pickled_error_file=None,
        error_file=None,
        status=status,
        config={"avoid": None, "left_out": (), "unfit": (), **config},
        placement_group_factory=tune.PlacementGroupFactory([{}, {"CPU": 1}], **options),
    )


class TestHealth:
    def test_a_node_is_left_out_once_it_has_failed_often_and_others_have_not(self) -> None:
        health = Health()
        for _ in range(FAILURES):
            assert health.left_out() == ()
            health.tell("bad", "host-b", failed=True)
        assert health.left_out() == (), "nothing goes well anywhere"
        health.tell("good", "host-a", failed=False)
        assert health.left_out() == ("bad",)
        assert health.remarks() == [
            "node host-b is left out: the first 3 stages and rows there all failed, and others go well elsewhere"
        ]

    def test_a_node_on_which_no_trial_begins_is_left_out_long_before_anything_is_finished(self) -> None:
        health = Health()
        for _ in range(FAILURES):
            health.tell_stillborn("bad", "host-b")
        assert health.left_out() == ()
        health.tell_begun("good")
        assert health.left_out() == ("bad",)
        assert "died there before they began" in health.remarks()[0]


class TestBeginnings:
    def test_processes_that_never_begin_are_the_clusters_fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nodes, "at", lambda address: None)
        beginnings = Beginnings(Health())
        for number in range(STILLBORN):
            assert beginnings.fault == ""
            beginnings.on_trial_error(0, [], started(f"{number}"))
        assert "no trial can begin" in beginnings.fault

    def test_once_a_trial_has_begun_deaths_are_no_longer_the_clusters_fault(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        health = Health()
        monkeypatch.setattr(nodes, "at", lambda address: ("bad", "host-b"))
        beginnings = Beginnings(health)
        beginnings.on_trial_result(0, [], started("first"), {"at": "good"})
        for number in range(2 * STILLBORN):
            beginnings.on_trial_error(0, [], started(f"{number}"))
        assert beginnings.fault == ""
        assert health.left_out() == ("bad",)


class TestUnfitNodes:
    @staticmethod
    def stopping(health: Health) -> Stopping:
        queue: Any = SimpleNamespace(storage_failure=None)
        return Stopping(queue, health, Beginnings(health), lambda: "", after_failures=None)

    def test_a_study_that_no_node_can_run_stops_the_sweep(self) -> None:
        stopping = self.stopping(Health())
        told = {"unfit": "No module named 'toys'", "host": "host-a"}
        for _ in range(10):
            stopping("trial", {**told, "elsewhere": True})
        assert not stopping.stop_all(), "another node may be slow and well"
        stopping("trial", {**told, "elsewhere": False})
        assert stopping.stop_all()
        assert stopping.cluster_fault == "node host-a cannot run the study: No module named 'toys'"

    def test_a_trial_that_no_node_can_run_stops_no_others(self) -> None:
        health = Health()
        health.tell("good", "host-b", failed=False)
        stopping = self.stopping(health)
        stopping("trial", {"unfit": "No module named 'toys'", "host": "host-a", "elsewhere": False})
        assert not stopping.stop_all()

    def test_a_node_that_cannot_is_left_out_at_once_where_another_may(self) -> None:
        health = Health()
        health.tell_begun("bad")
        health.tell_unfit("bad", "host-a")
        assert health.left_out() == (), "there is no other"
        health.tell_begun("slow")
        assert health.left_out() == ("bad",)
        assert health.remarks() == ["node host-a is left out: it cannot run the study, and others may"]
        health.tell("bad", "host-a", failed=False)
        assert health.left_out() == (), "it can run a part"


class TestStranded:
    @pytest.mark.parametrize(
        ("trials", "others", "found"),
        [
            ([started("a", "PENDING", avoid="bad")], False, True),
            ([started("a", "PENDING", left_out=("bad",)), started("b", "TERMINATED")], False, True),
            ([started("a", "PENDING", unfit=("bad",))], False, True),
            ([started("a", "PENDING", avoid="bad")], True, False),
            ([started("a", "PENDING", avoid="bad"), started("b", "RUNNING")], False, False),
            ([started("a", "PENDING", avoid="bad"), started("b", "PENDING")], False, False),
            ([started("a", "PENDING", avoid="bad", chooses=False)], False, False),
            ([started("a", "TERMINATED", avoid="bad")], False, False),
        ],
    )
    def test_tunes_waiting_ends_where_only_nodes_are_left_that_all_avoid(
        self, trials: list[Any], others: bool, found: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(nodes, "others_can_hold", lambda resources, avoided: others)
        stranded = Stranded({"CPU": 1.0})
        stranded.on_step_end(0, trials)
        assert (stranded.found, stranded.stop_all()) == (found, found)
