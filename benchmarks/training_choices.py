"""Ways to train under attack, side by side: what each costs, and what accuracy it leaves under attacks.

The data and the network of `classifiers-demo` (resnet8 on 900 generated images of 32 px), trained from the same
seeds, to the last epoch, without a watch for overfitting. `clean` sees no attack, `pgd` the demo's three steps,
`fast-at` one of 1.25 radii from a random start; `free` takes its perturbations from the training's own steps, m on each
batch: once with its epochs divided by m, as published, so that it takes as many steps as the others, and once with as
many epochs, so that it takes m times as many. On 300 other images, with the radius of training: `clean` accuracy, that
under PGD of 20 steps on the cross-entropy (`pgd`), and, on the first 100 of them, under 100 queries of `square`, which
sees no gradient. Each is the mean over seeds, beside its standard deviation (`…_sd`); `n` is how many seeds. `passes`
is the arithmetic, in forward passes' worth of work per image of a clean epoch; `cost` is processor time over `clean`'s.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.output import parser, write
from robustprune.attacks import PgdSettings
from robustprune.attacks.square import SquareSettings
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.accuracy import accuracy, attacked_accuracy
from robustprune.classification.measure.attacks import ball_attacks
from robustprune.core.operations import training_passes
from robustprune.core.randomness import generator_for
from robustprune.core.settings import Settings
from robustprune.studies.classification.study import ClassificationStudy
from robustprune.studies.pruning.under_attack import loop_work
from robustprune.training import train
from sweeps.spec import load

SPEC = "classifiers-demo"


class Way(NamedTuple):
    """A way to train: fields of the spec, whether images are attacked, and the share of the demo's epochs."""

    fields: dict[str, Any]
    attacked: bool = True
    share: float = 1.0


class Found(NamedTuple):
    """Accuracies, in [0, 1], and seconds of the processor."""

    clean: float
    pgd: float
    square: float
    seconds: float


def main() -> None:
    """Train and attack in every way, and print a line for each."""
    arguments = _command_line().parse_args()
    torch.set_num_threads(arguments.threads)
    ways = _ways(arguments.epsilon, arguments.replays)
    found: dict[str, list[Found]] = {name: [] for name in ways}
    for seed in arguments.seeds:
        for name, way in ways.items():
            found[name].append(_trained(way, seed, arguments.epsilon, arguments.epochs))
            print(f"seed {seed}, {name}: {found[name][-1]}", file=sys.stderr)
    write(list(_rows(ways, found, arguments.epochs)), arguments.format)


def _ways(epsilon: float, replays: int) -> dict[str, Way]:
    free = {"free": {"replays": replays}}
    return {
        "clean": Way({}, attacked=False),
        "pgd": Way({}),
        "fast-at": Way({"adversary": {"name": "fast-at", "epsilon": epsilon}}),
        f"free, {replays} replays, as many steps": Way(free, share=1 / replays),
        f"free, {replays} replays, as many epochs": Way(free),
    }


def _study(way: Way) -> ClassificationStudy:
    study = load(SPEC).study
    assert isinstance(study, ClassificationStudy)
    return ClassificationStudy(study.Settings.model_validate({**study.settings.model_dump(), **way.fields}))


def _trained(way: Way, seed: int, epsilon: float, epochs: int) -> Found:
    study = _study(way)
    task = study.task({**load(SPEC).cells[0], "training": "adversarial", "seed": seed})
    settings = study.settings.pretrain.model_copy(update={"epochs": round(epochs * way.share)})
    generator, classifier = generator_for(seed, "pretrain"), task.fresh(seed)
    objective = study.objective(task, generator, attacked=way.attacked)
    start = time.process_time()
    train(classifier, objective=objective, settings=settings, generator=generator)
    seconds = time.process_time() - start
    test = task.load("test")
    run = partial(attacked_accuracy, classifier, batch_size=100, device=task.device)
    pgd = PgdSettings(epsilon=epsilon, step_size=epsilon / 4, steps=20, random_start=True)
    square = SquareSettings(epsilon=epsilon, queries=100)

    def under(attack: Settings, images: LabelledImages) -> float:
        made = ball_attacks(attack, generator_for(seed, "evaluate"), classes=len(test.classes))
        return run(images, attack=next(iter(made.values())))

    clean = accuracy(classifier, test, batch_size=100, device=task.device)
    return Found(clean, under(pgd, test), under(square, test.take(range(100))), seconds)


def _rows(ways: dict[str, Way], found: dict[str, list[Found]], epochs: int) -> Iterator[dict[str, Any]]:
    clean_s = float(np.mean([each.seconds for each in found["clean"]]))
    for name, way in ways.items():
        settings = _study(way).settings
        attack, clean_too = loop_work(settings, settings.adversary) if way.attacked else (None, False)
        row: dict[str, Any] = {"training": name, "n": len(found[name])}
        row |= {"epochs": round(epochs * way.share), "passes": way.share * training_passes(attack, clean_too=clean_too)}
        row["cost"] = float(np.mean([each.seconds for each in found[name]])) / clean_s
        for field in Found._fields[:-1]:
            values = [getattr(each, field) for each in found[name]]
            row |= {field: float(np.mean(values)), f"{field}_sd": float(np.std(values, ddof=min(1, len(values) - 1)))}
        yield row


def _command_line() -> Any:
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="which (%(default)s)")
    made.add_argument("--epsilon", type=float, default=0.03, help="radius of fast-at and of measuring (%(default)s)")
    made.add_argument("--epochs", type=int, default=4, help="of all but the first of the free ones (%(default)s)")
    made.add_argument("--replays", type=int, default=4, help="m (%(default)s)")
    made.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    return made


if __name__ == "__main__":
    main()
