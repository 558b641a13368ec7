"""Memory: what adversarial training takes per batch, the largest batch that fits, and life after running out of it."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.figures import Bench, Figure
from benchmarks.gpu.problems import Problem, Trainer, detection
from robustprune.core.memory import frees_device_memory, return_freed_memory

GIB = 2**30
IMPOSSIBLE = 2**58
"""Bytes that no machine has."""

LEFT_OVER = 128 * 2**20
"""Bytes that are too few for a step on 64 images."""


def batches(bench: Bench) -> Iterator[Figure]:
    """Yield peaks of memory over the batch size, and the largest batch that can be trained on.

    The attack takes one step: more of them take turns in the same memory.
    """
    sizes = bench.sizes._replace(attack_steps=1)
    problem = detection(sizes.detector, sizes.image_size, sizes, bench.device)
    peaks: dict[int, float] = {}

    def fits(count: int) -> bool:
        peak = _peak(problem, count)
        if peak is not None:
            peaks[count] = peak
        return peak is not None

    for count in (1, 2, 4, 8, 16):
        if count > sizes.largest_batch or not fits(count):
            break
        yield Figure(f"{problem.name}: peak at batch {count}", peaks[count], "GiB")
    if len(peaks) > 1:
        fewest, most = min(peaks), max(peaks)
        each = (peaks[most] - peaks[fewest]) / (most - fewest)
        yield Figure(f"{problem.name}: per image", each, "GiB")
    largest, failed = largest_batch(fits, start=max(peaks, default=1), most=sizes.largest_batch, bench=bench)
    yield Figure(f"{problem.name}: largest batch that was trained on", largest, "images", largest > 0)
    if failed is not None:
        yield Figure(f"{problem.name}: smallest batch that ran out of memory", failed, "images")
    if largest in peaks:
        yield Figure(f"{problem.name}: peak at that batch", peaks[largest], "GiB")


def largest_batch(fits: Callable[[int], bool], *, start: int, most: int, bench: Bench) -> tuple[int, int | None]:
    """Return the largest batch known to fit and the smallest known not to, an eighth apart if there is time.

    Args:
        fits: tries a batch.
        start: where to begin; twice as many come next.
        most: no more are tried.
        bench: tells how much time is left.
    """
    fitting, failing = 0, None
    count: int | None = min(start, most)
    while count is not None and bench.left > 0:
        if fits(count):
            fitting = count
            doubled = min(2 * count, most)
            count = doubled if failing is None and doubled > count else _between(fitting, failing)
        else:
            failing = count
            count = _between(fitting, failing) if fitting else count // 2 or None
    return fitting, failing


def _between(fitting: int, failing: int | None) -> int | None:
    """Return a batch half way, or None where the two are near enough."""
    if failing is None or failing - fitting <= max(1, fitting // 8):
        return None
    return (fitting + failing) // 2


def survival(bench: Bench) -> Iterator[Figure]:
    """Yield whether a step that runs out of memory says so, leaves nothing, and lets the same step be taken after."""
    problem = detection(bench.sizes.small_detector, bench.sizes.small_image_size, bench.sizes, bench.device)
    expected = _loss(problem)
    in_use = _allocated(bench.device)
    yield from _ran_out(problem, expected, in_use, "a layer that asks for too much", _asking_too_much)
    if bench.device != "cpu":
        yield from _ran_out(problem, expected, in_use, "a device that others have filled", _with_a_full_device)


def _ran_out(
    problem: Problem, expected: float, in_use: float, what: str, work: Callable[[Problem], object]
) -> Iterator[Figure]:
    said = ""
    try:
        frees_device_memory(work)(problem)
    except MemoryError as error:
        said = str(error)
    yield Figure(f"{what}: is told as MemoryError", said or "nothing was raised", holds=bool(said))
    device = str(problem.task.device)
    left = _allocated(device) - in_use
    yield Figure(f"{what}: memory left in use", left, "GiB", left <= 0 if device != "cpu" else None)
    apart = abs(_loss(problem) - expected) / abs(expected)
    yield Figure(f"{what}: the loss of the same step afterwards", apart, "relative difference", apart <= 1e-4)


@frees_device_memory
def _loss(problem: Problem) -> float:
    trainer = Trainer(problem)
    return float(trainer.step(problem.batch(2)))


def _asking_too_much(problem: Problem) -> None:
    trainer = Trainer(problem)
    batch = problem.batch(2)
    trainer.step(batch)

    def ask(module: Any, inputs: Any, output: Tensor) -> None:
        # In the middle of a pass, with activations on the device.
        torch.empty(IMPOSSIBLE, dtype=torch.uint8, device=output.device)

    *_, last = (module for module in trainer.network.modules() if isinstance(module, torch.nn.Conv2d))
    last.register_forward_hook(ask)
    trainer.step(batch)


def _with_a_full_device(problem: Problem) -> None:
    trainer, batch = Trainer(problem), problem.batch(64)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(problem.task.device)
    try:
        filling = torch.empty(max(0, free - LEFT_OVER), dtype=torch.uint8, device=problem.task.device)
    except torch.OutOfMemoryError:
        raise RuntimeError("the device could not be filled, so that nothing was shown") from None
    trainer.step(batch)
    torch.cuda.synchronize()
    del filling


def _peak(problem: Problem, count: int) -> float | None:
    """Return the most memory in use, in GiB, while two steps are taken on so many images; None if they do not fit."""
    device = str(problem.task.device)
    try:
        return _two_steps(problem, count)
    except MemoryError:
        return None
    finally:
        gc.collect()
        if device != "cpu":
            torch.cuda.empty_cache()


@frees_device_memory
def _two_steps(problem: Problem, count: int) -> float:
    device = str(problem.task.device)
    trainer = Trainer(problem)
    batch = _repeated(problem, count)
    _forget_peak(device)
    # The optimizer takes its memory in the first.
    for _ in range(2):
        float(trainer.step(batch))
    return _highest(device)


def _repeated(problem: Problem, count: int) -> Any:
    """Return a batch of so many images: those that there are, over and over."""
    pixels, targets = problem.batch(min(count, problem.task.images))
    times = -(-count // len(pixels))
    if times == 1:
        return pixels, targets
    images = pixels.repeat(times, 1, 1, 1)[:count].contiguous(memory_format=torch.channels_last)
    repeated = []
    for each in targets:
        parts = [each._replace(image=each.image + turn * len(pixels)) for turn in range(times)]
        joined = type(each)(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
        repeated.append(type(each)(*(column[joined.image < count] for column in joined)))
    return images, repeated


def _allocated(device: str) -> float:
    gc.collect()
    return 0.0 if device == "cpu" else torch.cuda.memory_allocated(device) / GIB


def _forget_peak(device: str) -> None:
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        return
    return_freed_memory()
    # Where that is not allowed, the peak is that of all before.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _highest(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device) / GIB
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / GIB
