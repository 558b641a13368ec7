"""The CPU's pace is that of a training step, and to measure it changes nothing."""

from __future__ import annotations

import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from robustprune.training import calibration


def test_a_step_has_the_operations_that_are_counted() -> None:
    block = torch.nn.Sequential(*calibration._convolution(), *calibration._convolution())
    images = torch.rand(calibration.IMAGES, calibration.CHANNELS, calibration.SIDE, calibration.SIDE)
    with FlopCounterMode(display=False) as counter:
        calibration._step(block, images.requires_grad_())
    assert counter.get_total_flops() == calibration.OPERATIONS


def test_the_pace_is_operations_by_the_time_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    took = iter([60.0, 2.0, 4.0, 3.0])  # the first does not count
    monkeypatch.setattr(calibration, "_step", lambda *_: next(took))
    assert calibration.cpu_pace(threads=1, seconds=9.0) == calibration.OPERATIONS / 3


def test_nothing_of_the_process_is_changed_and_it_takes_a_moment() -> None:
    threads, numbers = torch.get_num_threads(), torch.get_rng_state()
    start = time.perf_counter()
    assert 1e7 < calibration.cpu_pace(threads=threads + 1, seconds=0.05) < 1e14
    assert time.perf_counter() - start < 30
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), numbers)
