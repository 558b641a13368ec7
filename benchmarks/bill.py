"""What the reference study, `liu2024`, costs by arithmetic, with and without leaving out filters that are masked.

Floating-point operations of all that the plan would compute (`core.operations`), of COCO's 50,000 images to train on
and 73,287 to measure on, none of which are read; `sweeps plan liu2024 …` tells the same of data at hand. `whole` is the
bill were masked filters computed with in fine-tuning, in scoring and in measuring, as they were once; `share` is of
the bill as it is. Units are 10¹⁸ operations; 108 of them are a thousand hours of a GPU that sustains 30 teraflops.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from benchmarks.output import parser, write
from robustprune.attacks import attack_work
from robustprune.studies.detection.settings import DetectionSettings
from robustprune.studies.detection.study import DetectionStudy
from robustprune.studies.detection.work import Scale, forward_operations
from robustprune.studies.pruning.under_attack import loop_work, training_work
from sweeps import spec

IMAGES, VALIDATION_IMAGES, CLASSES = 50_000, 73_287, 80
EXA = 1e18


class _Priced(DetectionStudy):
    """The study, of data of that size, with all stages' inputs alike."""

    whole = False

    def masks_filters(self, cell: Mapping[str, Any]) -> bool:
        return not self.whole and super().masks_filters(cell)

    @functools.cached_property
    def _scale(self) -> Scale:
        settings, size = self.settings, self.settings.detector.image_size
        assert isinstance(size, int)
        return Scale(
            forward_operations(settings.detector.config, CLASSES, size),
            IMAGES,
            VALIDATION_IMAGES,
            attack_work(settings.attack),
            training_work(settings, settings.training_attack),
            loop_work(settings, settings.training_attack),
        )

    @functools.cached_property
    def _inputs(self) -> dict[str, dict[str, Any]]:
        return defaultdict(dict)


class _Whole(_Priced):
    """Masked filters are computed with like any others."""

    whole = True


def main() -> None:
    """Print a row per kind of work and structure, and their sum."""
    form = parser(__doc__).parse_args().format
    now, before = bill(_Priced), bill(_Whole)
    total = sum(now.values())
    rows: list[dict[str, Any]] = [
        {"work": kind, "structure": structure, "whole": before[kind, structure] / EXA, "now": operations / EXA}
        for (kind, structure), operations in sorted(now.items(), key=lambda each: -each[1])
        if operations
    ]
    rows.append({"work": "all", "structure": "", "whole": sum(before.values()) / EXA, "now": total / EXA})
    write([{**row, "share": row["now"] * EXA / total} for row in rows], form)


def bill(study: type[_Priced]) -> dict[tuple[str, str], float]:
    """Return the operations of each kind of work in each structure; what cells share counts once."""
    loaded = spec.load("liu2024", ["dataset.root=unread", "detector.weights=unread"])
    assert isinstance(loaded.settings, DetectionSettings)
    priced = study(loaded.settings)
    seen: set[tuple[Any, ...]] = set()
    found: dict[tuple[str, str], float] = defaultdict(float)
    for cell in [*loaded.cells, *loaded.baselines]:
        for name in priced.stages:
            stage = priced.stage(name, cell)
            if stage is None:
                continue
            key = (name, *(cell[axis] for axis in stage.axes))
            if key not in seen:
                seen.add(key)
                for part in priced.workloads(name, cell):
                    found[part[0].partition(":")[0], str(cell["structure"])] += part[1]
    return found


if __name__ == "__main__":
    main()
