"""How strong an attack is: average precision under PGD or FGSM, over the radius and the number of steps.

A sound attack lowers precision as its radius and its steps grow, to about 0 for a large radius. `above_weaker` is by
how much a row's AP lies above the lowest AP of any weaker attack, one of no more radius and no more steps: 0 where all
is well, about 0.01 by chance on 100 images. `loss` is what the attack raised: the mean over images of the detector's
training loss, under attack. `zero_gradients` is the share of pixels, over all steps, that gave the attack nothing to
go by. Steps are 2 epsilon / steps long, as in the reference study. The first row is without attack.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.output import parser, write
from robustprune.attacks import Attack, AttackLoss, FgsmSettings, PgdSettings, ZeroGradients, configured
from robustprune.cli.inputs import open_detector, open_samples, square_side
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples
from robustprune.detection.measure.average_precision import AveragePrecision
from robustprune.detection.measure.evaluation import Evaluation, evaluate
from robustprune.detection.task import DetectionTask
from robustprune.training import Objective


def main() -> None:
    """Attack a detector with every radius and number of steps, and print its precision."""
    arguments = _command_line().parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    detector = open_detector(arguments.config, arguments.weights)
    side = square_side(detector, arguments.image_size)
    samples = open_samples(arguments.coco, arguments.split, detector, image_size=side, images=arguments.images)
    attacks = list(_attacks(arguments))
    write(measure(detector, samples, attacks, seed=arguments.seed, batch_size=arguments.batch_size), arguments.format)


def measure(
    detector: Detector, samples: Samples, attacks: Sequence[PgdSettings | FgsmSettings], *, seed: int, batch_size: int
) -> list[dict[str, Any]]:
    """Return a row for the clean images and one per attack."""
    rows: list[dict[str, Any]] = []
    task = DetectionTask.of(detector, image_size=samples.image_size)
    for settings in attacks:
        zeros = ZeroGradients()
        clean: list[Tensor] = []
        attacked: list[Tensor] = []
        attack = _recorded(zeros.watch(configured(settings, torch.Generator().manual_seed(seed))), clean, attacked)
        precision = evaluate(
            detector,
            samples,
            objective=Objective(task=task, attack=attack, clean_too=True),
            settings=Evaluation(batch_size=batch_size),
        )
        assert precision.attacked is not None
        if not rows:
            rows.append(_row("none", 0.0, 0, precision.clean, clean, 0.0, rows))
        steps = settings.steps if isinstance(settings, PgdSettings) else 1
        rows.append(_row(settings.name, settings.epsilon, steps, precision.attacked, attacked, zeros.share, rows))
        print(f"{len(rows) - 1} of {len(attacks)} attacks", file=sys.stderr)
    return rows


def _recorded(attack: Attack, clean: list[Tensor], attacked: list[Tensor]) -> Attack:
    """Return the attack, which from now on adds the losses of images before and after it to the lists."""

    def recorded(loss: AttackLoss, images: Tensor) -> Tensor:
        found = attack(loss, images)
        clean.append(loss.per_image(images))
        attacked.append(loss.per_image(found))
        return found

    return recorded


def _row(
    attack: str,
    epsilon: float,
    steps: int,
    precision: AveragePrecision,
    losses: Sequence[Tensor],
    zero_gradients: float,
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    weaker = [row["ap"] for row in rows if row["epsilon"] <= epsilon and row["steps"] <= steps]
    return {
        "attack": attack,
        "epsilon": epsilon,
        "steps": steps,
        **precision._asdict(),
        "above_weaker": max(0.0, precision.ap - min(weaker, default=precision.ap)),
        "loss": torch.cat(list(losses)).mean().item(),
        "zero_gradients": zero_gradients,
    }


def _attacks(arguments: argparse.Namespace) -> Iterator[PgdSettings | FgsmSettings]:
    """Yield the attacks, the weaker before the stronger."""
    for epsilon in sorted(arguments.epsilon):
        if arguments.attack == "fgsm":
            yield FgsmSettings(name="fgsm", epsilon=epsilon, step_size=min(1.0, 1.25 * epsilon))
            continue
        for steps in sorted(arguments.steps):
            yield PgdSettings(
                epsilon=epsilon,
                step_size=min(1.0, 2 * epsilon / steps),
                steps=steps,
                random_start=arguments.restarts > 0,
                restarts=max(1, arguments.restarts),
            )


def _command_line() -> argparse.ArgumentParser:
    command_line = parser(__doc__)
    command_line.add_argument("--config", required=True, help="a Darknet .cfg, or the name of a bundled one")
    command_line.add_argument("--weights", required=True, help="the .weights that belong to it")
    command_line.add_argument("--coco", required=True, help="folder with annotations/instances_SPLIT.json and SPLIT/")
    command_line.add_argument("--split", default="val2017")
    command_line.add_argument("--image-size", type=int, help="side of the squares; by default the .cfg's")
    command_line.add_argument("--images", type=int, help="only the first so many")
    command_line.add_argument("--attack", choices=["pgd", "fgsm"], default="pgd")
    command_line.add_argument("--epsilon", type=float, nargs="+", default=[0.005, 0.01, 0.02, 0.05, 0.2])
    command_line.add_argument("--steps", type=int, nargs="+", default=[1, 5, 10], help="of pgd")
    command_line.add_argument("--restarts", type=int, default=0, help="random starts of pgd; by default none")
    command_line.add_argument("--seed", type=int, default=0, help="of random starts")
    command_line.add_argument("--batch-size", type=int, default=16)
    command_line.add_argument("--threads", type=int, help="by default one per core")
    return command_line


if __name__ == "__main__":
    main()
