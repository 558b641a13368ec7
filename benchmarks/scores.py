"""What the way in which weights are scored is worth: the table that a reader of the reference study wants.

The demo's detector is pruned by every method, and by deeplift in each of its variants, in both scopes and to two
ratios. `pruned` is AP50 under attack with batch norm's statistics renewed and no weight trained again; `finetuned`
after the demo's fine-tuning. Both are means over seeds, each with its own pretraining, beside the values of each seed
(`pruned_seeds`, `finetuned_seeds`); `n` is how many. Random scores are the floor, and the detector at ratio 0 the
ceiling. With few seeds a difference below their spread says nothing: no test is made.

Twenty minutes on two CPU cores with two seeds.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from benchmarks.output import parser, write
from robustprune.core.arrays import Arrays
from robustprune.core.randomness import generator_for
from robustprune.studies.detection.study import DetectionStudy
from robustprune.training.renewal import renew
from sweeps.spec import load
from sweeps.study import Cell

VARIANTS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "random": ("random", {}),
    "magnitude": ("magnitude", {}),
    "taylor": ("taylor", {}),
    "hydra": ("hydra", {}),
    "deeplift, zeros": ("deeplift", {"reference": "zeros"}),
    "deeplift, mean": ("deeplift", {"reference": "mean"}),
    "deeplift, mean, by image": ("deeplift", {"reference": "mean", "magnitude_of": "image"}),
    "deeplift, mean, by filter": ("deeplift", {"reference": "mean", "normalise": "filter"}),
}
"""An initializer, and its settings besides those of the demo."""


class Asked(NamedTuple):
    """A detector to prune, and how."""

    variant: str
    structure: str
    scope: str
    ratio: float
    seed: int


class Found(NamedTuple):
    """AP50 under attack."""

    pruned: float
    finetuned: float


def main() -> None:
    """Prune in every way, and print a line for each."""
    arguments = _command_line().parse_args()
    seeds = list(range(arguments.seeds))
    study, cell = _demo()
    base = study.base(cell)
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        checkpoints = dict(zip(seeds, pool.starmap(_pretrained, [(base, seed) for seed in seeds]), strict=True))
        print(f"{len(seeds)} detectors pretrained", file=sys.stderr)
        asked = list(_all(arguments.structure, arguments.ratio, seeds))
        work = [(each, checkpoints[each.seed]) for each in asked]
        found: dict[Asked, Found] = {}
        for each, measured in zip(asked, pool.starmap(_measured, work, chunksize=1), strict=True):
            found[each] = measured
    write(list(_rows(found, seeds)), arguments.format)


def _all(structure: str, ratios: list[float], seeds: list[int]) -> Iterator[Asked]:
    for seed in seeds:
        yield Asked("unpruned", structure, "layer", 0.0, seed)
    for scope in ("layer", "global"):
        for ratio in ratios:
            for variant in VARIANTS:
                for seed in seeds:
                    yield Asked(variant, structure, scope, ratio, seed)


def _rows(found: Mapping[Asked, Found], seeds: list[int]) -> Iterator[dict[str, Any]]:
    for asked in found:
        if asked.seed != seeds[0]:
            continue
        own = [found[asked._replace(seed=seed)] for seed in seeds]
        row: dict[str, Any] = asked._asdict()
        del row["seed"]
        for field in Found._fields:
            values = [getattr(each, field) for each in own]
            row[field] = float(np.mean(values))
            row[f"{field}_seeds"] = " ".join(f"{value:.3f}" for value in values)
        yield row | {"n": len(seeds)}


def _demo() -> tuple[DetectionStudy, Cell]:
    spec = load("demo")
    assert isinstance(spec.study, DetectionStudy)
    return spec.study, spec.cells[0]


def _pretrained(base: Arrays, seed: int) -> Arrays:
    study, cell = _demo()
    return study.pretrain(cell | {"seed": seed}, base)


def _measured(asked: Asked, checkpoint: Arrays) -> Found:
    study, cell = _demo()
    initializer, own = VARIANTS.get(asked.variant, ("magnitude", {}))
    settings = study.settings
    initializers = settings.initializers
    if own:
        changed = getattr(initializers, initializer).model_copy(update=own)
        initializers = initializers.model_copy(update={initializer: changed})
    evaluation = settings.evaluation.model_copy(update={"margin": None})
    study = DetectionStudy(
        settings.model_copy(update={"scope": asked.scope, "initializers": initializers, "evaluation": evaluation})
    )
    cell = cell | {
        "structure": asked.structure,
        "initializer": initializer,
        "ratio": asked.ratio,
        "seed": asked.seed,
    }
    scores = study.score(cell, checkpoint) if asked.ratio else None
    task = replace(study.task(cell), attack_settings=settings.attack, evaluation=evaluation)
    detector = task.restored(checkpoint)
    pruned = study.prune(detector, cell, scores, task=task)
    generator = generator_for(asked.seed, "renew")
    assert settings.renewal is not None
    renew(
        detector,
        objective=study.objective(task, generator, attacked=True),
        settings=settings.renewal,
        generator=generator,
    )
    before = task.measure(detector, seed=asked.seed)["map50_adv"]
    generator = generator_for(asked.seed, "finetune")
    study.retrain(
        detector,
        cell,
        pruned,
        objective=study.objective(task, generator, attacked=True),
        settings=settings.finetune,
        renewal=settings.renewal,
        generator=generator,
    )
    return Found(before, task.measure(detector, seed=asked.seed)["map50_adv"])


def _command_line() -> Any:
    made = parser(__doc__)
    made.add_argument("--structure", choices=["unstructured", "structured"], default="unstructured")
    made.add_argument("--ratio", type=float, nargs="+", default=[0.5, 0.75], help="of the weights pruned")
    made.add_argument("--seeds", type=int, default=2, help="how many")
    made.add_argument("--processes", type=int, default=2, help="each computes on one thread")
    return made


if __name__ == "__main__":
    main()
