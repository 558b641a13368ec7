"""Does a device compute what the CPU computes? Of every task: outputs, loss, gradient, attack, and scores.

Errors are relative: the largest difference over the largest value. In float32, rounding alone is some 1e-6; TF32 is
off, as where models are measured. An attack steps by signs, which rounding turns where a gradient is nearly zero, so
what is compared of it is the loss it reaches, and the share of pixels that are the same is told.

Where the device is the CPU, it computes with PyTorch's own kernels, to be compared with those of oneDNN.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.figures import Bench, Figure
from benchmarks.gpu.problems import Problem, problems
from robustprune.core.devices import in_full_precision
from robustprune.core.randomness import generator_for
from robustprune.methods import INITIALIZERS
from robustprune.methods import Problem as Scoring

TOLERANCE = 1e-4


def run(bench: Bench) -> Iterator[Figure]:
    """Yield an error per task and quantity."""
    for problem in problems(bench.sizes, bench.device):
        yield from _compared(problem, images=4)


def _compared(problem: Problem, *, images: int) -> Iterator[Figure]:
    with _kernels(problem):
        found = list(_quantities(problem, images))
    expected = list(_quantities(problem.on("cpu"), images))
    for (name, value), (_, wanted) in zip(found, expected, strict=True):
        if name == "attacked pixels":
            same = float((value - wanted).abs().lt(1e-4).float().mean())
            yield Figure(f"{problem.name}: {name} that are the same", same)
        else:
            error = relative(value, wanted)
            yield Figure(f"{problem.name}: {name}", error, "relative error", error <= TOLERANCE)
    # Of a training, the rounding of each step is in all that come after.
    for name in (name for name, method in INITIALIZERS.items() if method.trains is None):
        with _kernels(problem):
            scores = _scores(problem, name)
        wanted_scores = _scores(problem.on("cpu"), name)
        error = max(relative(scores[layer], wanted_scores[layer]) for layer in wanted_scores)
        yield Figure(f"{problem.name}: scores of {name}", error, "relative error", error <= TOLERANCE)


@contextmanager
def _kernels(problem: Problem) -> Iterator[None]:
    """Compute in full precision meanwhile, and on a CPU otherwise than by default."""
    on_cpu = problem.task.device.type == "cpu"
    with in_full_precision(), torch.backends.mkldnn.flags(enabled=not on_cpu):
        yield


def _quantities(problem: Problem, images: int) -> Iterator[tuple[str, Tensor]]:
    task, network = problem.task, problem.network()
    inputs, targets = problem.batch(images)
    yield "images", inputs.cpu()
    with torch.no_grad():
        outputs = task.outputs(network, inputs, {})
        yield "outputs", _flat(outputs)
        yield "loss", task.loss(outputs, targets).cpu()
    with task.held_still(network, {}) as answer:
        asked = inputs.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(task.attack_loss(answer(asked), targets), asked)
    yield "gradient of the images", gradient.cpu()
    attacked = problem.objective().attacked(network, inputs, targets)
    yield "attacked pixels", attacked.cpu()
    with torch.no_grad():
        yield "loss under attack", task.loss(task.outputs(network, attacked, {}), targets).cpu()


def _scores(problem: Problem, name: str) -> Mapping[str, Tensor]:
    """Return the scores of one method on the CPU, of single weights."""
    method = INITIALIZERS[name]
    generator = generator_for(0, "score")
    scoring = Scoring(
        task=problem.task,
        # Clean: after an attack, scores differ by every sign that rounding has turned.
        objective=problem.objective(attacked=False),
        generator=generator,
        structure="unstructured" if method.per_structure or method.per_ratio else None,
        scope="layer",
        ratio=0.5 if method.per_ratio else None,
        comparable=method.comparable,
    )
    settings: Any = problem.study.method_settings(name)
    outcome = method.outcome(problem.network(), scoring, settings)
    return {layer: score.cpu() for layer, score in outcome.scores.items()}


def relative(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, over the largest value expected."""
    most = float(expected.double().abs().max())
    return float((found.double() - expected.double()).abs().max()) / (most or 1.0)


def _flat(outputs: Any) -> Tensor:
    parts = [outputs] if isinstance(outputs, Tensor) else outputs
    return torch.cat([part.detach().flatten().cpu() for part in parts])
