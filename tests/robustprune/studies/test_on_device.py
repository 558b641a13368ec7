"""What the engine is told of a stage's device: too small, lost, or not the one that is held."""

from __future__ import annotations

import pytest
import torch

from robustprune.studies.on_device import held_device, on_device
from sweeps.study import DeviceError


def raised_by_a_stage(error: Exception) -> Exception:
    """Return what leaves a stage that raises `error`."""

    @on_device
    def pretrain() -> None:
        raise error

    try:
        pretrain()
    except Exception as found:
        return found
    raise AssertionError("nothing was raised")


def test_a_lost_device_is_told_with_the_first_line_of_its_error() -> None:
    error = RuntimeError("CUDA error: device-side assert triggered\nSearch for `cudaErrorAssert' in ...")
    found = raised_by_a_stage(error)
    assert isinstance(found, DeviceError)
    assert str(found) == "pretrain lost its device: CUDA error: device-side assert triggered"
    assert found.__cause__ is error


def test_a_library_without_memory_is_no_lost_device() -> None:
    found = raised_by_a_stage(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"))
    assert isinstance(found, MemoryError)


def test_other_errors_are_left_as_they_are() -> None:
    error = ValueError("expected an image")
    assert raised_by_a_stage(error) is error


def test_a_trial_that_holds_a_gpu_never_computes_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    threads = torch.get_num_threads()
    monkeypatch.delenv("SWEEPS_HOLDS_GPU", raising=False)
    assert held_device(threads=threads) == torch.device("cpu")
    monkeypatch.setenv("SWEEPS_HOLDS_GPU", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(DeviceError, match=r"^this trial holds a GPU of .*, and PyTorch .* sees none .*'3'"):
        held_device(threads=threads)
