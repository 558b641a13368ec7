"""The device that a process computes on: which it is, what it is called, how precisely it multiplies."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from robustprune.core.memory import reuse_freed_memory

PLACE_COLUMNS: dict[str, type] = {"device": str, "accelerator": str, "device_shared_by": int}
"""Columns of a row on where it was computed; see `place`."""


def device_name(device: torch.device) -> str:
    """Return the model of a GPU, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def accelerator_name(device: torch.device) -> str:
    """Return the model of a GPU or of the CPU, such as `NVIDIA H100 80GB HBM3` or `AMD EPYC 7763 64-Core Processor`."""
    return device_name(device) if device.type == "cuda" else _cpu_model()


def shared_by() -> int:
    """Return how many rows are computed on this process's device at a time, as the engine says."""
    return int(os.environ.get("SWEEPS_ROWS_PER_DEVICE") or 1)


def place(device: torch.device) -> dict[str, Any]:
    """Return the values of `PLACE_COLUMNS`: what computes, its model, and how many rows at a time."""
    return dict(
        zip(PLACE_COLUMNS, (device_name(device), accelerator_name(device), shared_by()), strict=True),
    )


@functools.cache
def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    # Not on every architecture: ARM's kernels name no model there.
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


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
