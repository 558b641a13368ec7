"""How strong the attacks on detectors are: average precision under the training loss, under the margin attack, of more
steps and in a larger ball.

Without options two detectors are attacked that the demo's spec trains, an unprotected one and one trained under attack:
two minutes on two CPU cores. `--config`, `--weights` and `--coco` name another.

A sound attack lowers precision as its radius and its steps grow, to about 0 for a large radius, and the margin attack
lowers it further than the training loss. `above_weaker` is by how much a row's AP50 lies above the lowest of any weaker
attack on the same detector: one of no more radius and no more steps, on the same loss, or on the training loss if it is
a margin's. `monotone` says whether that is within 0.02, which is chance on 100 images. `low` and `high` are a 95%
interval of AP50 over images, where the training loss is attacked. `zero_gradients` is the share of pixels, over all
steps, that gave the attack nothing to go by.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from benchmarks.output import parser, write
from robustprune.attacks import PgdSettings, ZeroGradients, configured
from robustprune.cli.inputs import SplitFiles, checked_size, open_detector, open_samples, open_split
from robustprune.core.errors import InputError
from robustprune.detection.darknet.ends import fit_of
from robustprune.detection.detector import Detector
from robustprune.detection.measure.average_precision import AveragePrecision
from robustprune.detection.measure.bootstrap import Interval
from robustprune.detection.measure.evaluation import Evaluation, evaluate
from robustprune.detection.task import DetectionTask
from robustprune.studies.detection.study import DetectionStudy
from robustprune.training import Objective
from sweeps.spec import load

CHANCE = 0.02
LOSSES = ("none", "training", "margin")
"""The weaker before the stronger."""


class Attacked(NamedTuple):
    """An attack of `steps` steps on one of `LOSSES`, within `epsilon` in every pixel."""

    loss: str
    epsilon: float
    steps: int


def main() -> None:
    """Attack each detector in every way, and print its precision."""
    arguments = _command_line().parse_args()
    torch.set_num_threads(arguments.threads)
    attacks = [
        *(Attacked("training", arguments.epsilon, steps) for steps in (5, 20)),
        *(Attacked("margin", arguments.epsilon, steps) for steps in (5, 20, 50)),
        *(Attacked(loss, arguments.large_epsilon, 20) for loss in ("training", "margin")),
    ]
    rows: list[dict[str, Any]] = []
    for name, detector, task in _given(arguments) if arguments.config else _of_the_demo():
        settings = Evaluation(batch_size=arguments.batch_size)
        rows += measure(name, detector, task, attacks, settings=settings, step_size=arguments.step_size)
    write(rows, arguments.format)


def measure(
    name: str,
    detector: Detector,
    task: DetectionTask,
    attacks: Sequence[Attacked],
    *,
    settings: Evaluation,
    step_size: float,
) -> list[dict[str, Any]]:
    """Return a row for the clean images and one per attack."""
    assert task.val is not None
    rows: list[dict[str, Any]] = []
    for attack in attacks:
        zeros = ZeroGradients()
        pgd = PgdSettings(epsilon=attack.epsilon, step_size=step_size, steps=attack.steps)
        run = zeros.watch(configured(pgd, torch.Generator()))
        found = evaluate(
            detector,
            task.val,
            objective=Objective(task=task, attack=run if attack.loss == "training" else None, clean_too=True),
            settings=settings,
            margin=run if attack.loss == "margin" else None,
        )
        if not rows:
            rows.append(_row(name, Attacked("none", 0.0, 0), found.clean, None, 0.0, rows))
        precision = found.attacked or found.margin
        assert precision is not None
        rows.append(_row(name, attack, precision, found.interval and found.interval.ap50, zeros.share, rows))
        print(f"{name}: {len(rows) - 1} of {len(attacks)} attacks", file=sys.stderr)
    return rows


def _row(
    name: str,
    attack: Attacked,
    precision: AveragePrecision,
    interval: Interval | None,
    zero_gradients: float,
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    weaker = [
        row["ap50"]
        for row in rows
        if row["epsilon"] <= attack.epsilon
        and row["steps"] <= attack.steps
        and LOSSES.index(row["loss"]) <= LOSSES.index(attack.loss)
    ]
    above = max(0.0, precision.ap50 - min(weaker, default=precision.ap50))
    return {
        "detector": name,
        **attack._asdict(),
        **precision._asdict(),
        "low": interval and interval.low,
        "high": interval and interval.high,
        "above_weaker": above,
        "monotone": above <= CHANCE,
        "zero_gradients": zero_gradients,
    }


def _of_the_demo() -> Iterator[tuple[str, Detector, DetectionTask]]:
    """Yield the detectors that the demo starts from and, of its first seed, goes on with."""
    spec = load("demo")
    study, cell = spec.study, spec.cells[0]
    assert isinstance(study, DetectionStudy)
    task = study.task(cell)
    base = study.base(cell)
    yield "unprotected", task.restored(base), task
    yield "robust", task.restored(study.pretrain(cell, base)), task


def _given(arguments: argparse.Namespace) -> Iterator[tuple[str, Detector, DetectionTask]]:
    if arguments.weights is None or arguments.coco is None:
        raise InputError("--config: found it alone, expected --weights and --coco with it")
    detector = open_detector(arguments.config, arguments.weights)
    size = checked_size(detector, arguments.image_size)
    (split,), _ = open_split(SplitFiles(root=arguments.coco, split=arguments.split), classes=detector.heads[0].classes)
    fit = fit_of(detector.sections).fit
    samples = open_samples(split, detector, image_size=size, fit=fit, images=arguments.images)
    yield arguments.config, detector, DetectionTask.of(detector, image_size=size, val=samples)


def _command_line() -> argparse.ArgumentParser:
    command_line = parser(__doc__)
    command_line.add_argument("--config", help="a Darknet .cfg, or the name of a bundled one")
    command_line.add_argument("--weights", help="the .weights that belong to it")
    command_line.add_argument("--coco", help="folder with annotations/instances_SPLIT.json and SPLIT/")
    command_line.add_argument("--split", default="val2017")
    command_line.add_argument("--image-size", type=int, help="side of the squares; by default the .cfg's")
    command_line.add_argument("--images", type=int, help="only the first so many")
    command_line.add_argument("--epsilon", type=float, default=0.05, help="radius of the balls")
    command_line.add_argument("--large-epsilon", type=float, default=0.3, help="radius that should leave nothing")
    command_line.add_argument("--step-size", type=float, default=0.02)
    command_line.add_argument("--batch-size", type=int, default=32)
    command_line.add_argument("--threads", type=int, default=1, help="one is fastest on images as small as the demo's")
    return command_line


if __name__ == "__main__":
    main()
