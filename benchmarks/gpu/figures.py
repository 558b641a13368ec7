"""What a part of the benchmark is handed, and what it tells: plain values, which travel between processes.

PyTorch is imported where a part runs, and not here: it takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Value = str | int | float | bool | None


class Figure(NamedTuple):
    """One thing that was measured; `holds` says whether it is as it must be, None where nothing is asked of it."""

    name: str
    value: Value
    unit: str = ""
    holds: bool | None = None


class Sizes(NamedTuple):
    """How large the work is: as in the bundled studies on a GPU, and as small as possible on a CPU."""

    detector: str
    image_size: int
    batch: int
    attack_steps: int
    small_detector: str
    small_image_size: int
    models: tuple[str, ...]
    model_batch: int
    repeats: int
    largest_batch: int
    images: int
    seconds: float
    comparisons: int
    timing: Mapping[str, Any]


ON_GPU = Sizes(
    detector="yolov3",
    image_size=416,
    batch=8,
    attack_steps=5,
    small_detector="yolov3-tiny",
    small_image_size=160,
    models=("resnet18", "mobilenet_v2", "swin_t"),
    model_batch=128,
    repeats=5,
    largest_batch=1024,
    images=128,
    seconds=1.0,
    comparisons=10,
    timing={},
)

ON_CPU = Sizes(
    detector="yolov3-nano",
    image_size=64,
    batch=2,
    attack_steps=2,
    small_detector="yolov3-nano",
    small_image_size=64,
    models=("resnet8",),
    model_batch=4,
    repeats=2,
    largest_batch=8,
    images=8,
    seconds=0.1,
    comparisons=2,
    timing={"timing_repeats": 6, "timing_warm_up": 1, "timing_most": 1},
)


@dataclass(frozen=True)
class Bench:
    """What a part computes on, how much of it, and until when.

    Attributes:
        device: a name of PyTorch's, such as `cuda`.
        sizes: of the work.
        until: by `time.monotonic`, when the part had better end; figures after that are not waited for.
    """

    device: str
    sizes: Sizes
    until: float = field(default=float("inf"))

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.until - time.monotonic()


Run = Callable[[Bench], Iterator[Figure]]
"""A part: yields figures as they are measured, so that what was measured in time is told."""


class Part(NamedTuple):
    """A part, and what it needs.

    Attributes:
        name: of a user's.
        run: `module:function`, imported where it runs alone: each part breaks by itself.
        least: seconds on a GPU without which it is not begun.
        most: seconds after which it is cut short, so that later parts have their turn.
    """

    name: str
    run: str
    least: float
    most: float


class Result(NamedTuple):
    """What became of a part; `cause` where it failed, was cut short or did not run."""

    part: str
    state: Literal["done", "failed", "cut short", "not run"]
    seconds: float
    figures: tuple[Figure, ...] = ()
    cause: str = ""
