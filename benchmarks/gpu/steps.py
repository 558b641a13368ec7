"""The adversarial training step in every arithmetic, against the textbook's loop and the passes it cannot do without.

What is timed is told in `benchmarks.adversarial_training`. Here the textbook's loop computes in the same arithmetic as
ours, as far as that is a setting of the process: float32 as such or rounded to TF32, which is how convolutions are
trained on a GPU by default, and kernels searched by timing them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.adversarial_training import Ours, compared, loss_after, random_batch
from benchmarks.gpu.figures import Bench, Figure
from benchmarks.gpu.graph import GraphedStep
from robustprune.core.precision import Compute
from robustprune.core.timing import take_turns
from robustprune.detection.darknet import Detector

LOSS_STEPS = 5
"""Of training on one batch, before the loss of each way is compared."""

ALIKE = 0.05
"""Share of the loss in float32 by which that of another arithmetic may differ after them."""


class Way(NamedTuple):
    """An arithmetic: settings of ours, and of the process."""

    name: str
    compute: Compute = Compute()
    tf32: bool = True
    search: bool = False


FLOAT32 = Way("float32", tf32=False)
EAGER = (
    FLOAT32,
    Way("TF32"),
    Way("bfloat16", Compute(precision="bfloat16")),
    Way("TF32, not channels_last", Compute(channels_last=False)),
    Way("TF32, kernels searched", search=True),
    Way("bfloat16, kernels searched", Compute(precision="bfloat16"), search=True),
)
COMPILED = (
    Way("TF32, compiled", Compute(compile=True)),
    Way("bfloat16, compiled", Compute(precision="bfloat16", compile=True)),
)


def eager(bench: Bench) -> Iterator[Figure]:
    """Yield the pace of each way as PyTorch runs it."""
    yield from _paces(bench, EAGER)


def compiled(bench: Bench) -> Iterator[Figure]:
    """Yield the pace of compiled passes; the compiler may be missing."""
    yield from _paces(bench, COMPILED)


def graphed(bench: Bench) -> Iterator[Figure]:
    """Yield the pace of a step recorded once as a CUDA graph, against the same step launched kernel by kernel.

    Of a small detector: a large one's kernels take longer than it takes to launch them.
    """
    detector, images, targets = _subject(bench, bench.sizes.small_detector, bench.sizes.small_image_size)
    steps, device = bench.sizes.attack_steps, torch.device(bench.device)
    for way in (Way("TF32"), Way("bfloat16", Compute(precision="bfloat16"))):
        with arithmetic(way):
            ours = Ours(detector, way.compute, steps)
            recorded = GraphedStep(detector, images, targets, way.compute, attack_steps=steps)
            plain, graph = take_turns(
                [partial(ours.step, images, targets), partial(recorded.step, images, targets)],
                repeats=bench.sizes.repeats,
                warm_up=2,
                device=device,
            )
            expected = loss_after(Ours(detector, way.compute, steps), images, targets, steps=LOSS_STEPS)
            fresh = GraphedStep(detector, images, targets, way.compute, attack_steps=steps)
            found = loss_after(fresh, images, targets, steps=LOSS_STEPS)
        how = "a CUDA graph" if recorded.is_graph else "without a graph: there are none on a CPU"
        yield Figure(f"{way.name}, {how}", 1000 * len(images) / graph.p50, "images/s")
        yield Figure(f"{way.name}, {how}: speed-up", plain.p50 / graph.p50, "×")
        apart = abs(found - expected) / abs(expected)
        yield Figure(f"{way.name}, {how}: loss beside ours", apart, "relative difference", apart <= ALIKE)


def _paces(bench: Bench, ways: tuple[Way, ...]) -> Iterator[Figure]:
    detector, images, targets = _subject(bench, bench.sizes.detector, bench.sizes.image_size)
    steps = bench.sizes.attack_steps
    with arithmetic(FLOAT32):
        wanted = loss_after(Ours(detector, Compute(), steps), images, targets, steps=LOSS_STEPS)
    for way in ways:
        with arithmetic(way):
            row = compared(
                detector,
                images,
                targets,
                way.compute,
                attack_steps=steps,
                repeats=bench.sizes.repeats,
                loss_steps=LOSS_STEPS,
            )
        yield Figure(f"{way.name}: ours", row["images_per_s"], "images/s")
        yield Figure(f"{way.name}: textbook", row["textbook_images_per_s"], "images/s")
        yield Figure(f"{way.name}: ours over textbook", row["speedup_over_textbook"], "×")
        yield Figure(f"{way.name}: share of the floor", row["fraction_of_floor"])
        apart = abs(row["loss"] - wanted) / abs(wanted)
        yield Figure(f"{way.name}: loss beside float32's", apart, "relative difference", apart <= ALIKE)


def _subject(bench: Bench, config: str, image_size: int) -> tuple[Detector, Tensor, Tensor]:
    device = torch.device(bench.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        detector = Detector.from_cfg(config).to(device)
    return detector, *random_batch(bench.sizes.batch, image_size, detector.heads[0].classes, device)


@contextmanager
def arithmetic(way: Way) -> Iterator[None]:
    """Let convolutions multiply as a way says, meanwhile."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=way.search, allow_tf32=way.tf32):
        yield
