"""Figures of a detector as a command shows them: JSON, or a table; COCO's all, and those of each class."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.kitti.levels import LEVELS
from robustprune.detection.data.kitti.split import KittiSplit
from robustprune.detection.measure.average_precision import AveragePrecision
from robustprune.detection.measure.breakdown import Line, means
from robustprune.detection.measure.kitti_ap import LevelPrecision, level_columns

PER_CLASS, PER_LEVEL = "per_class", "per_level"
"""The names of the figures of each class, and of each class by level, which are lists."""


def precision_figures(precision: AveragePrecision, lines: Sequence[Line], *, suffix: str = "") -> dict[str, Any]:
    """Return AP, AP by size, and recall, by name; None where there is nothing to be found."""
    return {f"{name}{suffix}": value for name, value in (precision._asdict() | means(lines)).items()}


def class_figures(split: CocoSplit, clean: Sequence[Line], attacked: Sequence[Line] = ()) -> list[dict[str, Any]]:
    """Return a record for each class that has objects."""
    under_attack = {line.class_: line for line in attacked if line.size == "all"}
    records = []
    for line in clean:
        if line.size == "all":
            record: dict[str, Any] = {
                "category_id": split.category_ids[line.class_],
                "category": split.category_names[line.class_],
                "objects": line.objects,
                **_numbers(line),
            }
            if line.class_ in under_attack:
                record |= {f"{name}_adv": value for name, value in _numbers(under_attack[line.class_]).items()}
            records.append(record)
    return records


def level_figures(
    split: CocoSplit, clean: Sequence[LevelPrecision], attacked: Sequence[LevelPrecision] = ()
) -> dict[str, Any]:
    """Return KITTI's AP by level, means over classes and of each class; nothing of a split without levels."""
    if not isinstance(split, KittiSplit):
        return {}
    columns = level_columns(clean, attacked)
    by_level = {
        f"ap_{level.name}{'' if what == 'clean' else f'_{what}'}": columns[f"ap_{level.name}_{what}"]
        for what in ("clean", *(["adv"] if attacked else []), "ceiling")
        for level in LEVELS
    }
    under_attack = {(line.level, line.class_): {"ap_adv": line.ap} for line in attacked}
    records = [
        {
            "level": line.level,
            "category": split.category_names[line.class_],
            "objects": line.objects,
            "ap": line.ap,
            **under_attack.get((line.level, line.class_), {}),
            "ceiling": line.ceiling,
        }
        for line in clean
    ]
    return {**by_level, PER_LEVEL: records}


def show(figures: Mapping[str, Any], form: str) -> None:
    """Print figures, those of classes and levels last."""
    if form == "json":
        click.echo(json.dumps(figures, indent=1))
        return
    width = max(map(len, figures))
    for name, value in figures.items():
        if name not in (PER_CLASS, PER_LEVEL):
            click.echo(f"{name:{width}}  {_told(value)}")
    for records in (figures.get(PER_LEVEL), figures.get(PER_CLASS)):
        if not records:
            continue
        cells = [[*records[0]], *([_told(value) for value in record.values()] for record in records)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        click.echo()
        for line in cells:
            click.echo("  ".join(f"{cell:{size}}" for cell, size in zip(line, widths, strict=True)).rstrip())


def _numbers(line: Line) -> dict[str, float]:
    return dict(zip(Line._fields[3:], line[3:], strict=True))


def _told(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
