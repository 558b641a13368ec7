"""What the CPU of this machine sustains in training, measured in a moment; how long a sweep takes follows from it."""

from __future__ import annotations

import functools
import time
from statistics import median

import torch
from torch import nn

CHANNELS, SIDE, IMAGES = 64, 32, 8
"""Of the block that is measured: two convolutions of 3 × 3, as a network of middling size has them."""

OPERATIONS = 3 * 2 * (2 * 9 * CHANNELS**2 * SIDE**2 * IMAGES)
"""Of a step, counted as in `core.operations`: forward, and both gradients, of two convolutions."""


@functools.cache
def cpu_pace(*, threads: int, seconds: float = 0.4) -> float:
    """Return floating-point operations per second of a training step, with batch norm and activations in its time.

    Nothing of the process is changed: neither its threads nor any random numbers. It is measured once in a process, so
    that whoever asks again is told the same.

    Args:
        threads: of the CPU.
        seconds: to measure for, after a step that does not count.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            block = nn.Sequential(*_convolution(), *_convolution())
            images = torch.rand(IMAGES, CHANNELS, SIDE, SIDE, requires_grad=True)
            _step(block, images)
            took: list[float] = []
            while not took or sum(took) < seconds:
                took.append(_step(block, images))
    finally:
        torch.set_num_threads(before)
    return OPERATIONS / median(took)


def _convolution() -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(CHANNELS, CHANNELS, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(CHANNELS),
        nn.LeakyReLU(0.1),
    )


def _step(block: nn.Module, images: torch.Tensor) -> float:
    """Return the seconds of a step."""
    start = time.perf_counter()
    block(images).square().mean().backward()
    return time.perf_counter() - start
