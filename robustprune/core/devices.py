"""What a device is called in rows and tables."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
