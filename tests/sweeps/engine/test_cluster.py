"""A Ray that a process has connected to is used as it is; whoever asks for another one is told so."""

from __future__ import annotations

import pytest
import ray

from sweeps.engine import cluster
from sweeps.errors import ClusterError


@pytest.fixture(autouse=True)
def connected_before(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A process that is connected; return what is asked of Ray."""
    asked: list[str] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "init", lambda **options: asked.append("init"))
    monkeypatch.setattr(ray, "shutdown", lambda: asked.append("shutdown"))
    return asked


def test_it_is_neither_started_nor_left(connected_before: list[str]) -> None:
    with cluster.connected(None):
        assert connected_before == []
    assert connected_before == []


@pytest.mark.parametrize(("address", "private"), [("10.0.0.1:6379", {}), (None, {"num_gpus": 2})])
def test_another_one_is_refused(address: str | None, private: dict[str, int]) -> None:
    refused = pytest.raises(ClusterError, match="found this process connected to a Ray already, expected none")
    with refused, cluster.connected(address, **private):
        pass
