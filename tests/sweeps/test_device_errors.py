"""Which errors mean that a process must not go on using its device: told by what CUDA and PyTorch say."""

from __future__ import annotations

import pytest

from sweeps.study import DeviceError, is_device_lost

ADVICE = """
Search for `cudaErrorX' in https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more information.
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
"""


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: device-side assert triggered",
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: unspecified launch failure",
        "CUDA error: misaligned address",
        "CUDA error: operation not supported on global/shared address space",
        "CUDA error: an error that only the next CUDA knows",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa)`",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "CUDA driver error: unknown error",
        "CUDA unknown error - this may be due to an incorrectly set up environment",
        "Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized",
        "GPU is lost.  Reboot the system to recover this GPU",
    ],
)
def test_after_these_no_later_call_of_the_process_succeeds(text: str) -> None:
    assert is_device_lost(RuntimeError(text + ADVICE))


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 20.00 GiB.",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: all CUDA-capable devices are busy or unavailable",
        "CUDA error: invalid configuration argument",
        "CUDA error: operation not permitted when stream is capturing",
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
        "the loss became nan in epoch 2 of 8",
        "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)",
    ],
)
def test_after_these_the_process_is_as_good_as_before(text: str) -> None:
    assert not is_device_lost(RuntimeError(text + ADVICE))


def test_what_led_to_an_error_counts_and_what_a_study_says_itself() -> None:
    assert is_device_lost(DeviceError("the card is gone"))
    while_tidying_up = ValueError("expected a file")
    while_tidying_up.__context__ = RuntimeError("CUDA error: an illegal memory access was encountered")
    assert is_device_lost(while_tidying_up)
    because = MemoryError("score ran out of memory on the device")
    because.__cause__ = RuntimeError("CUDA error: out of memory")
    assert not is_device_lost(because)
    because.__cause__ = RuntimeError("CUDA error: misaligned address")
    assert is_device_lost(because)
