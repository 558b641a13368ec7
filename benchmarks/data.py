"""Whether the loader keeps up: images per second on their way from JPEG files to a detector, against its own pace.

`decoded_per_s`, `letterboxed_per_s` (decoding included) and `painted_per_s` (of images that are kept) are of one
thread, `delivered_per_s` and `delivered_cached_per_s` of the batches that a training gets from `workers` threads, in a
first epoch and once all images are kept. `detector_per_s` is the pace of training on clean images that lie in memory,
the fastest that a detector asks for any; `detector_fed_per_s` the pace of the same steps on batches from files.

`asked_per_s` is what adversarial training under PGD would ask for on a device that sustains `--teraflops`, by the
detector's arithmetic, and `cores_asked` the cores of this machine that deliver as many, images read anew and kept.
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.output import parser, write
from robustprune.attacks import PgdSettings, attack_work
from robustprune.core.devices import device_name
from robustprune.core.operations import training_passes
from robustprune.detection.darknet import Detector
from robustprune.detection.data.coco import CocoSplit, load_split
from robustprune.detection.data.letterbox import Pixels, letterbox
from robustprune.detection.data.samples import Samples
from robustprune.detection.task import DetectionTask
from robustprune.inference.cost import size
from robustprune.task import Batch
from robustprune.training import Objective

SIZE = (640, 480)  # of most of COCO's images
ROUNDS = 3
OBJECTS = 7  # per image, as in COCO


def main() -> None:
    """Measure on a folder in COCO's layout, drawn here unless one is given."""
    command_line = parser(__doc__)
    command_line.add_argument("--coco", type=Path, help="folder with annotations/instances_SPLIT.json and SPLIT/")
    command_line.add_argument("--split", default="train2017")
    command_line.add_argument("--images", type=int, default=128, help="images to draw, where there is no --coco")
    command_line.add_argument("--image-size", type=int, default=416, help="side of the letterboxed squares")
    command_line.add_argument("--batch", type=int, default=16)
    command_line.add_argument("--workers", type=int, default=4, help="threads of the loader")
    command_line.add_argument("--threads", type=int, default=1, help="threads of the detector")
    command_line.add_argument("--detector", default="yolov3-nano", help="a Darknet .cfg, or the name of a bundled one")
    command_line.add_argument("--seconds", type=float, default=1.0, help="for each figure, in each of 3 rounds")
    command_line.add_argument("--teraflops", type=float, default=100.0, help="of a device to be fed (%(default)s)")
    command_line.add_argument("--attack-steps", type=int, default=5, help="of PGD in its training (%(default)s)")
    arguments = command_line.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(prefix="benchmark-data-") as folder:
        if arguments.coco is None:
            draw_coco(Path(folder), arguments.split, count=arguments.images)
        figures = measure(
            load_split(arguments.coco or Path(folder), arguments.split),
            detector=arguments.detector,
            image_size=arguments.image_size,
            batch_size=arguments.batch,
            workers=arguments.workers,
            seconds=arguments.seconds,
            device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        )
    asked = asked_per_s(arguments.detector, arguments.image_size, arguments.attack_steps, arguments.teraflops)
    write({**figures, **cores_asked(figures, asked)}, arguments.format)


def asked_per_s(detector: str, image_size: int, attack_steps: int, teraflops: float) -> float:
    """Return the images per second that adversarial training takes on a device of so many sustained teraflops."""
    with torch.device("meta"):
        macs = size(Detector.from_cfg(detector), torch.zeros(1, 3, image_size, image_size)).macs
    passes = training_passes(attack_work(PgdSettings(epsilon=0.05, steps=attack_steps)), clean_too=True)
    return 1e12 * teraflops / (2 * macs * passes)


def cores_asked(figures: Mapping[str, float], asked: float) -> dict[str, float]:
    """Return what a device asks for, and how many cores deliver that; `letterboxed_per_s` is one core's pace."""
    return {
        "asked_per_s": asked,
        "cores_asked": asked / figures["letterboxed_per_s"],
        "cores_asked_cached": asked / figures["painted_per_s"],
    }


def measure(
    split: CocoSplit,
    *,
    detector: str,
    image_size: int,
    batch_size: int,
    workers: int,
    seconds: float,
    device: torch.device,
) -> dict[str, Any]:
    """Return the figures: medians of rounds in which all take turns, as other work on the machine comes and goes."""
    samples = Samples(split, image_size=image_size, workers=workers)
    cached = Samples(split, image_size=image_size, workers=workers, cache_bytes=2**62)
    trained = Detector.from_cfg(detector, classes=len(split.categories)).train()
    trained.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    task = DetectionTask.of(trained, image_size=image_size)

    def delivered(of: Samples) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(0)
        while True:
            yield from replace(task, train=of).batches(batch_size, generator=generator)

    # Before anything is timed: files come into the system's cache, images into ours, the detector to its speed.
    *_, batch = itertools.islice(delivered(cached), -(-len(split) // batch_size))
    _pace(_train(trained, task, itertools.repeat(batch)), seconds)

    stages: dict[str, Callable[[], Iterator[int]]] = {
        "decoded_per_s": lambda: _each(split, lambda image: None),
        "letterboxed_per_s": lambda: _each(split, lambda image: letterbox(image, image_size)),
        "painted_per_s": lambda: (len(cached.batch([index]).images) for index in itertools.cycle(range(len(split)))),
        "delivered_per_s": lambda: (len(images) for images, _ in delivered(samples)),
        "delivered_cached_per_s": lambda: (len(images) for images, _ in delivered(cached)),
        "detector_per_s": lambda: _train(trained, task, itertools.repeat(batch)),
        "detector_fed_per_s": lambda: _train(trained, task, delivered(samples)),
    }
    rounds = [{name: _pace(stage(), seconds) for name, stage in stages.items()} for _ in range(ROUNDS)]
    return {
        **{name: statistics.median(paces[name] for paces in rounds) for name in stages},
        **{
            f"{one}_over_{other}": statistics.median(
                paces[f"{one}_per_s"] / paces[f"{other}_per_s"] for paces in rounds
            )
            for one, other in (("letterboxed", "decoded"), ("painted", "decoded"))
        },
        "images": len(split),
        "workers": workers,
        "threads": torch.get_num_threads(),
        "device": device_name(device),
    }


def _pace(counts: Iterator[int], seconds: float) -> float:
    """Return images per second of an endless iterator that does the work and says how many images each piece was."""
    start, images = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        images += next(counts)
    return images / passed


def _each(split: CocoSplit, work: Callable[[Image.Image], object]) -> Iterator[int]:
    """Decode images for ever and do something with each."""
    for index in itertools.cycle(range(len(split))):
        work(split.image(index))
        yield 1


def _train(detector: Detector, task: DetectionTask, stream: Iterable[Batch]) -> Iterator[int]:
    """Take a step on each batch, and yield its size."""
    objective = Objective(task=task)
    optimizer = torch.optim.Adam(detector.parameters(), lr=1e-4)
    for images, targets in stream:
        optimizer.zero_grad(set_to_none=True)
        loss = objective(detector, images, targets)
        loss.backward()
        optimizer.step()
        loss.item()  # waits for a GPU
        yield len(images)


def draw_coco(root: Path, split: str, *, count: int) -> None:
    """Write JPEGs with the detail of photographs, about as large as COCO's, and annotations to them."""
    rng = np.random.default_rng(0)
    (root / split).mkdir()
    (root / "annotations").mkdir()
    width, height = SIZE
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(1, count + 1):
        name = f"{number:012d}.jpg"
        Image.fromarray(_texture(rng)).save(root / split / name, quality=85)
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for _ in range(OBJECTS):
            box = [float(side * rng.uniform(0, 0.5)) for side in (width, height) * 2]
            category = int(rng.integers(1, 81))
            annotations.append({"id": len(annotations), "image_id": number, "category_id": category, "bbox": box})
    categories = [{"id": category, "name": f"category {category}"} for category in range(1, 81)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def _texture(rng: np.random.Generator) -> Pixels:
    # Noise whose amplitude falls as 1 / frequency, as in photographs.
    width, height = SIZE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    noise = rng.standard_normal((3, height, width))
    channels = np.fft.irfft2(np.fft.rfft2(noise) / frequency, s=(height, width))
    pixels = 128 + 50 * channels / channels.std()
    texture: Pixels = np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return texture


if __name__ == "__main__":
    main()
