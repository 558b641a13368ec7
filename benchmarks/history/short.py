"""Which benchmarks are short enough to be run at every commit, and which of their figures are kept: ratios alone.

Each is run by its own command line, whose JSON keys are stable. A ratio compares two things that took turns in one
process: what machine it was, and what else that did, cancels. Larger is better in all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Short(NamedTuple):
    """A benchmark with the settings in which it takes a minute at most.

    Attributes:
        benchmark: a module of `benchmarks`.
        options: of its command line.
        ratios: fields of a row that are kept, larger is better.
        inverse: likewise, of ratios of which less is better: one over them is kept.
        rows: fields that tell its rows apart.
        control: the field with the ratio of two equals, if there is one.
    """

    benchmark: str
    options: tuple[str, ...]
    ratios: tuple[str, ...]
    inverse: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    control: str | None = None


class Ratio(NamedTuple):
    """A ratio that was measured, and that of two equals beside it, if there was one."""

    value: float
    control: float | None


SHORT = (
    Short(
        "adversarial_training",
        ("--image-size", "64", "--batch", "16", "--repeats", "9", "--loss-steps", "1"),
        ratios=("speedup_over_textbook", "fraction_of_floor"),
        rows=("detector", "image_size"),
    ),
    Short(
        "finetuning",
        ("--image-size", "160", "--batch", "2", "--attack-steps", "2", "--ratios", "0.75", "--repeats", "7"),
        ratios=("speedup",),
        rows=("detector", "image_size", "ratio"),
        control="control",
    ),
    Short(
        "inference",
        ("--image-size", "224", "--ratios", "0.75", "0.9", "--repeats", "15"),
        ratios=("speedup",),
        rows=("structure", "ratio"),
        control="speedup_control",
    ),
    Short(
        "data",
        ("--images", "24", "--seconds", "0.3", "--detector", "yolov3-nano", "--image-size", "416"),
        ratios=("letterboxed_over_decoded", "painted_over_decoded"),
    ),
    Short(
        "average_precision",
        ("--images", "250", "--rounds", "3"),
        ratios=("ap_over_pycocotools",),
    ),
    Short(
        "engine",
        ("--gpus", "2", "--set", "grid.seed=[0,1]"),
        ratios=(),
        inverse=("makespan_over_ideal",),
    ),
)


def run(short: Short, *, seconds: float = 180) -> dict[str, Ratio]:
    """Return a benchmark's ratios by their names.

    Raises:
        ChildProcessError: it failed, or took too long.
    """
    command = [sys.executable, "-m", f"benchmarks.{short.benchmark}", *short.options, "--format", "json"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise ChildProcessError(f"it took longer than {seconds:g} s") from None
    if ran.returncode:
        said = ran.stderr.strip().splitlines() or [""]
        raise ChildProcessError(f"it ended with status {ran.returncode}: {said[-1]}")
    return ratios(short, json.loads(ran.stdout))


def ratios(short: Short, rows: Sequence[Mapping[str, Any]]) -> dict[str, Ratio]:
    """Return what is kept of the rows that a benchmark printed."""
    found = {}
    for row in rows:
        own = " ".join([short.benchmark, *(str(row[field]) for field in short.rows)])
        control = None if short.control is None else float(row[short.control])
        for field in short.ratios:
            found[f"{own}: {field}"] = Ratio(float(row[field]), control)
        for field in short.inverse:
            found[f"{own}: 1/{field}"] = Ratio(1 / float(row[field]), control)
    return found
