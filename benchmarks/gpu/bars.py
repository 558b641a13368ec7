"""What a GPU is asked for, each figure beside its bar: the adversarial step, compact networks, networks replayed.

What is compared takes turns in one process, a copy of one side among them as a control, which must read 1 but for
noise. On a CPU, for which no bar is meant, the figures alone are told.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.adversarial_training import Floor, Ours, Textbook, random_batch
from benchmarks.gpu.figures import Bench, Figure
from benchmarks.gpu.problems import classification
from benchmarks.gpu.steps import FLOAT32, Way, arithmetic
from benchmarks.inference import difference, prune, random_detector
from robustprune.core.devices import in_full_precision
from robustprune.core.precision import Compute
from robustprune.core.timing import take_turns
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.compact.compaction import CompactDetector, compact, whole
from robustprune.inference.engine import Engine, dense_engine
from robustprune.inference.replay import Replay

STEP_OVER_TEXTBOOK, SHARE_OF_FLOOR = 4.0, 0.85
"""Of a step in bfloat16: times as fast as the textbook's in float32, and the floor's time over its own."""

OF_A_BARE_NETWORK = 0.8
"""Of a compact network's speed, over that of a network built with so few filters."""

IMAGES = 2
"""Times as many images as the study's batch on a GPU, so that it and not Python is what a step waits for."""

RATIOS = (0.5, 0.9)
RUNS = 20
"""Turns of each network in inference, which takes milliseconds."""

TF32 = Way("TF32")
BFLOAT16 = Way("bfloat16", Compute(precision="bfloat16"))


def step(bench: Bench) -> Iterator[Figure]:
    """Yield the step in bfloat16 over the textbook's in float32, and its share of the bare passes' speed."""
    sizes, device = bench.sizes, torch.device(bench.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        detector = Detector.from_cfg(sizes.detector).to(device)
    count = sizes.batch * (1 if bench.device == "cpu" else IMAGES)
    images, targets = random_batch(count, sizes.image_size, detector.heads[0].classes, device)
    ours, twin = (Ours(detector, BFLOAT16.compute, sizes.attack_steps) for _ in range(2))
    textbook = Textbook(detector, sizes.attack_steps)
    floor = Floor(detector, BFLOAT16.compute, images)
    runs = {
        "ours": _in(BFLOAT16, partial(ours.step, images, targets)),
        "ours again": _in(BFLOAT16, partial(twin.step, images, targets)),
        "float32": _in(FLOAT32, partial(textbook.step, images, targets)),
        "TF32": _in(TF32, partial(textbook.step, images, targets)),
        "attack pass": _in(BFLOAT16, floor.attack_pass),
        "full pass": _in(BFLOAT16, floor.full_pass),
    }
    timings = take_turns(list(runs.values()), repeats=sizes.repeats, warm_up=2, device=device)
    took = {name: timing.p50 for name, timing in zip(runs, timings, strict=True)}
    yield Figure("bfloat16 step", 1000 * len(images) / took["ours"], "images/s")
    yield _against(bench, "bfloat16 step over textbook's, float32", took["float32"] / took["ours"], STEP_OVER_TEXTBOOK)
    # PyTorch rounds convolutions in float32 to TF32 unless it is told not to: the bar is of the arithmetic named.
    yield Figure("bfloat16 step over textbook's, TF32", took["TF32"] / took["ours"], "×")
    least = sizes.attack_steps * took["attack pass"] + took["full pass"]
    yield _against(bench, "bfloat16 step: share of the floor", least / took["ours"], SHARE_OF_FLOOR)
    yield Figure("control: the step over itself", took["ours again"] / took["ours"], "×")


def compact_networks(bench: Bench) -> Iterator[Figure]:
    """Yield speeds of filter-pruned detectors over those of detectors built with so many filters, one image at a time.

    Each in its faster memory format, replayed where there are CUDA graphs.
    """
    image = _image(bench)
    with in_full_precision(), torch.inference_mode():
        for ratio in RATIOS:
            detector = random_detector(bench.sizes.small_detector, image)
            prune(detector, "structured", ratio)
            network = compact(detector)
            own = dense_engine(network, image)
            bare, twin = (dense_engine(_bare(detector, network), image) for _ in range(2))
            runs = [each.on(image) for each in (own, bare, twin)]
            mine, theirs, again = take_turns(runs, repeats=RUNS, warm_up=3, device=image.device)
            name = f"compact at {ratio:g}"
            yield _against(bench, f"{name}: speed over a bare network's", theirs.p50 / mine.p50, OF_A_BARE_NETWORK)
            yield Figure(f"{name}: control, the bare network over itself", again.p50 / theirs.p50, "×")
            apart = difference(detector, own, image)
            yield Figure(f"{name}: outputs beside the masked detector's", apart, "largest difference", apart <= 1e-3)


def replays(bench: Bench) -> Iterator[Figure]:
    """Yield what it gains to replay small networks as CUDA graphs, one image at a time; outputs must be the same."""
    for name, network, image in _small_networks(bench):
        with in_full_precision(), torch.inference_mode():
            launched = [Engine("dense", copy.deepcopy(network), torch.contiguous_format) for _ in range(2)]
            if bench.device == "cpu":
                yield Figure(f"{name}: replayed", "there are no CUDA graphs on a CPU")
                continue
            # As such and not by way of an engine's choice, so that what keeps it from being recorded is told.
            graph = Engine("dense", Replay(launched[0].network, image), torch.contiguous_format)
            runs = [each.on(image) for each in (graph, *launched)]
            replay, plain, again = take_turns(runs, repeats=RUNS, warm_up=3, device=image.device)
            yield Figure(f"{name}: launched one by one", plain.p50, "ms")
            yield _against(bench, f"{name}: speed-up when replayed", plain.p50 / replay.p50, 1.0)
            yield Figure(f"{name}: control, launched over itself", again.p50 / plain.p50, "×")
            apart = _apart(runs[0](), runs[1]())
            yield Figure(f"{name}: replayed outputs beside launched ones", apart, "largest difference", apart <= 1e-4)


def _small_networks(bench: Bench) -> Iterator[tuple[str, nn.Module, Tensor]]:
    sizes, image = bench.sizes, _image(bench)
    detector = random_detector(sizes.small_detector, image)
    for side in sorted({sizes.small_image_size, sizes.image_size}):
        yield f"{sizes.small_detector} {side}", whole(detector), image[..., :side, :side].contiguous()
    for model in sizes.models:
        problem = classification(model, sizes, bench.device)
        yield problem.name, problem.network(), image[..., : problem.image_size, : problem.image_size].contiguous()


def _bare(detector: Detector, network: CompactDetector) -> nn.Module:
    """Return a detector built with as many filters as a compact one has, of random weights, its batch norms folded."""
    sections = [*detector.sections]
    for name, (_, filters) in network.widths.items():
        # The first section is [net].
        at = 1 + int(name.split(".")[1])
        sections[at] = dataclasses.replace(sections[at], options={**sections[at].options, "filters": str(filters)})
    device = next(detector.parameters()).device
    bare = whole(Detector(sections).to(device).eval())
    assert bare.widths == network.widths, "the bare network has other filters"
    return bare


def _image(bench: Bench) -> Tensor:
    side = bench.sizes.image_size
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(bench.device)


def _in(way: Way, run: Callable[[], None]) -> Callable[[], None]:
    def within() -> None:
        context: AbstractContextManager[None] = arithmetic(way)
        with context:
            run()

    return within


def _apart(found: Tensor | list[Tensor], expected: Tensor | list[Tensor]) -> float:
    one, other = ([each] if isinstance(each, Tensor) else each for each in (found, expected))
    pairs = zip(one, other, strict=True)
    return max(float((one - other).abs().max()) for one, other in pairs)


def _against(bench: Bench, name: str, value: float, bar: float) -> Figure:
    return Figure(name, value, f"(bar: {bar:g})", value >= bar if bench.device != "cpu" else None)
