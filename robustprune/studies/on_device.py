"""A stage on its device: where it computes, what it leaves there, and errors in words that the engine knows."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from robustprune.core.devices import usable_device
from robustprune.core.memory import frees_device_memory
from sweeps.study import DeviceError, is_device_lost

P = ParamSpec("P")
R = TypeVar("R")


def on_device(stage: Callable[P, R]) -> Callable[P, R]:
    """Decorate a stage so that it leaves no memory of the device in use.

    Raises:
        MemoryError: the device had too little memory.
        DeviceError: it failed so that this process cannot use it any more.
    """
    freed = frees_device_memory(stage)

    @functools.wraps(stage)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return freed(*args, **kwargs)
        except DeviceError:
            raise
        except Exception as error:
            if is_device_lost(error):
                first, *_ = str(error).splitlines() or [type(error).__name__]
                raise DeviceError(f"{stage.__name__} lost its device: {first}") from error
            raise

    return wrapped


def held_device(*, threads: int) -> torch.device:
    """Return the device that this process holds.

    Args:
        threads: of the CPU.

    Raises:
        DeviceError: the engine holds a GPU for this process, and PyTorch sees none: on the CPU, which is no part of
            what was asked for, it would compute for days in silence.
    """
    device = usable_device(threads=threads)
    if os.environ.get("SWEEPS_HOLDS_GPU") == "1" and device.type != "cuda":
        raise DeviceError(
            f"this trial holds a GPU of {socket.gethostname()}, and PyTorch {torch.__version__} sees none "
            f"(CUDA_VISIBLE_DEVICES is {os.environ.get('CUDA_VISIBLE_DEVICES', '')!r}): expected a PyTorch with CUDA "
            "and a driver that is new enough for it"
        )
    return device
