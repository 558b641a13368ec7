"""Does a seed determine a training? Twice the same epoch, adversarially, and the weights afterwards.

On a CPU they are the same to the last bit. On a GPU, kernels that add in any order differ in the last digits, which
training lets grow; with deterministic kernels (`torch.use_deterministic_algorithms`) the bits must be the same there
too, and what that costs is told.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from benchmarks.gpu.figures import Bench, Figure
from benchmarks.gpu.parity import relative
from benchmarks.gpu.problems import Problem, problems
from robustprune.core.randomness import generator_for
from robustprune.training import train


def run(bench: Bench) -> Iterator[Figure]:
    """Yield how far two trainings of one seed end apart, by default and with deterministic kernels."""
    for problem in problems(bench.sizes, bench.device):
        _trained(problem)  # warms up
        apart, seconds = _twice(problem)
        same = apart == 0 if bench.device == "cpu" else None
        yield Figure(f"{problem.name}: weights of two trainings", apart, "relative difference", same)
        with _deterministic() as said:
            apart, slower = _twice(problem)
        yield Figure(f"{problem.name}: with deterministic kernels", apart, "relative difference", apart == 0)
        yield Figure(f"{problem.name}: they take", slower / seconds, "times as long")
        without = {str(each.message).partition(" ")[0] for each in said if "determin" in str(each.message)}
        if without:
            yield Figure(f"{problem.name}: without a deterministic kernel", ", ".join(sorted(without)))


def _twice(problem: Problem) -> tuple[float, float]:
    """Return how far the weights of two trainings are apart, and the seconds of one."""
    (first, seconds), (second, again) = _trained(problem), _trained(problem)
    return max(relative(first[name], second[name]) for name in first), min(seconds, again)


def _trained(problem: Problem) -> tuple[dict[str, Tensor], float]:
    """Return the weights after a training, and the seconds it took."""
    network, generator = problem.network(), generator_for(0, "train")
    start = time.perf_counter()
    objective = problem.study.objective(problem.task, generator, attacked=True)
    settings = problem.study.settings.pretrain
    train(network, objective=objective, settings=settings, generator=generator)
    # To copy the weights waits for the device.
    weights = {name: tensor.double().cpu() for name, tensor in network.state_dict().items()}
    return weights, time.perf_counter() - start


@contextmanager
def _deterministic() -> Iterator[list[warnings.WarningMessage]]:
    """Use deterministic kernels wherever there are any; yield the warnings about where there are none."""
    with warnings.catch_warnings(record=True) as said, torch.backends.cudnn.flags(enabled=True, deterministic=True):
        warnings.simplefilter("always")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield said
        finally:
            torch.use_deterministic_algorithms(False)
