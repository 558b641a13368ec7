"""A Ray that a process has connected to is used as it is; whoever asks for another one is told so."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from typing import Any

import pytest
import ray
from ray._private import worker

from sweeps.engine import cluster
from sweeps.engine.cluster import connection
from sweeps.errors import ClusterError


class Node:
    gcs_address = "10.0.0.7:6379"


@pytest.fixture(autouse=True)
def connected_before(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A process that is connected; return what is asked of Ray."""
    asked: list[str] = []
    monkeypatch.setattr(worker, "_global_node", Node())
    monkeypatch.setattr(connection, "watched", lambda *which, **options: nullcontext())
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "init", lambda **options: asked.append("init"))
    monkeypatch.setattr(ray, "shutdown", lambda: asked.append("shutdown"))
    return asked


@pytest.mark.parametrize("address", [None, "local", "auto", "10.0.0.7:6379"])
def test_it_is_neither_started_nor_left(connected_before: list[str], address: str | None) -> None:
    environment = dict(os.environ)
    printing, level = worker.print_to_stdstream, logging.getLogger("ray.tune").level
    with cluster.connected(address):
        assert connected_before == []
    assert connected_before == []
    # Its token stays the one that it was started with, and its processes print again.
    tokens = [{name: value for name, value in each.items() if "AUTH" in name} for each in (environment, os.environ)]
    assert tokens[0] == tokens[1]
    assert worker.print_to_stdstream is printing
    assert logging.getLogger("ray.tune").level == level


@pytest.mark.parametrize(
    ("address", "private", "asked"),
    [
        ("10.0.0.1:6379", {}, "--address 10.0.0.1:6379"),
        (None, {"num_gpus": 2}, "--gpus 2"),
        ("auto", {"num_cpus": 4, "num_gpus": 2}, "--cpus 4 --gpus 2"),
    ],
)
def test_another_one_is_refused(address: str | None, private: dict[str, Any], asked: str) -> None:
    words = f"^{asked}: found this process connected to a Ray already, expected none"
    with pytest.raises(ClusterError, match=words), cluster.connected(address, **private):
        pass


def test_ray_client_cannot_drive_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_global_node", None)
    with pytest.raises(ClusterError, match=r"connected by Ray Client \(ray://\)"), cluster.connected(None):
        pass
