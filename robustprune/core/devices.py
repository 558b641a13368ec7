"""The device that a process computes on: which it is, what it is called, how precisely it multiplies."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from robustprune.core.memory import reuse_freed_memory


def device_name(device: torch.device) -> str:
    """Return the model of a GPU, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@contextmanager
def in_full_precision() -> Iterator[None]:
    """Let convolutions multiply float32 as such, and in the same order each time, on GPUs too.

    By default they are rounded to TF32 there, which has 10 bits of mantissa: too few to measure a distance by.
    """
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def usable_device(*, threads: int) -> torch.device:
    """Return the GPU of this process, or the CPU where it has none; settle how many threads that uses.

    Args:
        threads: of the CPU.
    """
    torch.set_num_threads(threads)
    reuse_freed_memory()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
