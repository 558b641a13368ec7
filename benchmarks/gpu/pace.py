"""How many operations a second training sustains, and whether the loader keeps up with that."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks import data
from benchmarks.gpu.figures import Bench, Figure
from benchmarks.gpu.problems import Trainer, classification, detection
from robustprune.core.timing import take_turns
from robustprune.detection.data.coco import load_split


def teraflops(bench: Bench) -> Iterator[Figure]:
    """Yield what adversarial training sustains, by the arithmetic of `sweeps plan`: its `--teraflops`."""
    sizes, device = bench.sizes, torch.device(bench.device)
    # The largest first: it is what estimates are made for.
    subjects = [
        (detection(sizes.detector, sizes.image_size, sizes, bench.device), sizes.batch),
        *((classification(model, sizes, bench.device), sizes.model_batch) for model in sizes.models),
        (detection(sizes.small_detector, sizes.small_image_size, sizes, bench.device), sizes.batch),
    ]
    for problem, batch_size in subjects:
        trainer, batch = Trainer(problem), problem.batch(batch_size)
        step = partial(trainer.step, batch)
        (timing,) = take_turns([step], repeats=max(3, sizes.repeats), warm_up=2, device=device)
        count = len(batch.inputs)
        sustained = problem.step_operations() * count / (timing.p50 / 1000) / 1e12
        yield Figure(f"{problem.name}, batch {count}: adversarial training", 1000 * count / timing.p50, "images/s")
        yield Figure(f"{problem.name}, batch {count}: sustained", sustained, "teraflops")


def loader(bench: Bench) -> Iterator[Figure]:
    """Yield images per second of the loader and of the detector, as `benchmarks.data` measures them."""
    sizes = bench.sizes
    with tempfile.TemporaryDirectory(prefix="benchmark-data-") as folder:
        data.draw_coco(Path(folder), "drawn", count=sizes.images)
        found = data.measure(
            load_split(Path(folder), "drawn"),
            detector=sizes.detector,
            image_size=sizes.image_size,
            batch_size=sizes.batch,
            workers=4,
            seconds=sizes.seconds,
            device=torch.device(bench.device),
        )
    for name, pace in found.items():
        if name.endswith("_per_s"):
            yield Figure(name.removesuffix("_per_s").replace("_", ", "), pace, "images/s")
    # Training under attack asks for fewer images than this.
    share = found["detector_fed_per_s"] / found["detector_per_s"]
    yield Figure("pace that is left of clean training when fed from files", share)
