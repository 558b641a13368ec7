"""How a device computes, and what it is called."""

from pathlib import Path

import pytest
import torch

from robustprune.core.devices import accelerator_name, in_full_precision


def test_full_precision_lasts_as_long_as_asked_for() -> None:
    def flags() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic

    before = flags()
    with in_full_precision():
        assert flags() == (False, True)
    assert flags() == before


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux tells it there")
def test_processors_are_told_apart_by_their_model() -> None:
    found = accelerator_name(torch.device("cpu"))
    listed = Path("/proc/cpuinfo").read_text()
    assert found
    assert "model name" not in listed or f": {found}\n" in listed


def test_gpus_are_told_apart_by_their_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    assert accelerator_name(torch.device("cuda")) == "NVIDIA H100 80GB HBM3"
