"""What a piece of work leaves on the device: nothing, even where its error is kept; a stand-in counts for a tensor.
On the host, freed memory is kept for the next tensors, and handed back when asked; seen by the system's counts.
"""

import platform
import subprocess
import sys
import traceback
import weakref
from collections.abc import Callable

import pytest
import torch

from robustprune.core.memory import frees_device_memory


class Activations:
    """What weighs on the device."""


class Device:
    """A device in use, which knows what is still held when its cache is emptied."""

    def __init__(self) -> None:
        self.held: list[weakref.ref[Activations]] = []
        self.left_at_emptying: list[int] = []

    def activations(self) -> Activations:
        activations = Activations()
        self.held.append(weakref.ref(activations))
        return activations

    def empty_cache(self) -> None:
        self.left_at_emptying.append(sum(held() is not None for held in self.held))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", device.empty_cache)
    return device


def work(device: Device, error: Exception | None) -> Callable[[], int]:
    @frees_device_memory
    def pretrain() -> int:
        activations = device.activations()

        def attack() -> int:
            if error is not None:
                raise error
            return len([activations])

        return attack()

    return pretrain


def test_a_result_comes_through_and_the_cache_is_emptied_after_it(device: Device) -> None:
    assert work(device, None)() == 1
    assert device.left_at_emptying == [0]


def test_out_of_memory_is_said_in_a_sentence_and_leaves_nothing(device: Device) -> None:
    with pytest.raises(MemoryError) as caught:
        work(device, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."))()
    assert device.left_at_emptying == [0], "the error holds memory while it is told"
    assert str(caught.value) == "pretrain ran out of memory on the device"
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert "Tried to allocate 20.00 GiB" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in https://docs.nvidia.com",
        "CUDA error: all CUDA-capable devices are busy or unavailable",
    ],
)
def test_libraries_and_contexts_without_memory_are_out_of_memory(device: Device, text: str) -> None:
    with pytest.raises(MemoryError, match="^pretrain ran out of memory on the device$"):
        work(device, RuntimeError(text))()
    assert device.left_at_emptying == [0]


def test_a_compiler_that_ran_out_of_memory_is_out_of_memory(device: Device) -> None:
    error = RuntimeError("backend failed")
    error.__cause__ = torch.OutOfMemoryError("CUDA out of memory.")
    with pytest.raises(MemoryError):
        work(device, error)()


def test_the_cpu_can_be_too_small_too(device: Device) -> None:
    @frees_device_memory
    def score() -> None:
        torch.empty(2**58, dtype=torch.uint8)

    with pytest.raises(MemoryError, match="^score ran out"):
        score()


def test_a_broken_device_cannot_be_emptied_and_its_error_comes_through(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "empty_cache", fails)
    with pytest.raises(ArithmeticError):
        work(device, ArithmeticError("the first error"))()


def test_another_error_comes_through_with_its_lines_but_without_what_they_held(device: Device) -> None:
    @frees_device_memory
    def score() -> None:
        activations = device.activations()
        raise ArithmeticError(f"the loss became {len([activations])}")

    with pytest.raises(ArithmeticError, match="the loss became 1") as caught:
        score()
    assert device.left_at_emptying == [0]
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "score"


def test_where_no_device_is_in_use_none_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "empty_cache", device.empty_cache)
    assert work(device, None)() == 1
    assert device.left_at_emptying == []


# On the host

MEBIBYTES = 100

PROGRAM = f"""
import resource, sys
import torch
from robustprune.core.memory import return_freed_memory, reuse_freed_memory

def resident():
    return next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmRSS"))

if sys.argv[1] == "keep":
    reuse_freed_memory()
before = resident()
for _ in range(20):  # until the allocator has found its places
    torch.ones({MEBIBYTES}, 2**18)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones({MEBIBYTES}, 2**18)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
kept = resident() - before
return_freed_memory()
print(faults, kept, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told what to keep")
def test_memory_is_kept_until_it_is_handed_back() -> None:
    measured = {}
    for mode in ("keep", "leave"):
        ran = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
        measured[mode] = [int(number) for number in ran.stdout.split()]
    faults, kept, left = measured["keep"]
    assert faults < measured["leave"][0] / 10
    assert kept > 0.9 * MEBIBYTES
    assert left < 0.1 * MEBIBYTES
