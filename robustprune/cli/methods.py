"""`python -m robustprune methods`: what a spec can name, and which package it comes from; made from the registries."""

from __future__ import annotations

import inspect
import itertools
import json
import re
from typing import Any

import click

from robustprune.attacks import ATTACKS
from robustprune.classification.data import DATASETS as IMAGE_SETS
from robustprune.classification.losses import LOSSES as CLASSIFICATION_LOSSES
from robustprune.classification.networks.by_name import NETWORKS as CLASSIFIERS
from robustprune.detection.darknet import cfg
from robustprune.detection.data.datasets import DATASETS as BOX_SETS
from robustprune.detection.losses import LOSSES as DETECTION_LOSSES
from robustprune.detection.networks import NETWORKS as DETECTORS
from robustprune.methods import INITIALIZERS
from robustprune.plugins import OWN, Registry
from robustprune.structures import STRUCTURES
from robustprune.training.objectives import OBJECTIVES

DARKNET = "network (detection)"
"""Darknet's bundled detectors are .cfg files, and no entries of a registry."""

REGISTRIES: dict[str, Registry[Any]] = {
    "initializer": INITIALIZERS,
    "structure": STRUCTURES,
    "attack": ATTACKS,
    "objective": OBJECTIVES,
    "loss (detection)": DETECTION_LOSSES,
    "loss (classification)": CLASSIFICATION_LOSSES,
    DARKNET: DETECTORS,
    "network (classification)": CLASSIFIERS,
    "data set (detection)": BOX_SETS,
    "data set (classification)": IMAGE_SETS,
}


@click.command("methods")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def methods(form: str) -> None:
    """List what a spec can name: methods, structures, attacks, objectives, losses, networks and data sets.

    Plug-ins are among them. One that cannot be used is told on stderr, with its package and what is wrong.
    """
    found = [
        {
            "kind": kind,
            "name": name,
            "package": registry.origin(name) or OWN,
            "version": entry.version,
            "summary": _summary(entry),
        }
        for kind, registry in REGISTRIES.items()
        for name, entry in registry.listed.items()
    ]
    found += [
        {"kind": DARKNET, "name": name, "package": OWN, "version": 1, "summary": _first_comment(text)}
        for name, text in cfg.bundled().items()
    ]
    found.sort(key=lambda line: [*REGISTRIES].index(line["kind"]))
    for remark in dict.fromkeys(remark for registry in REGISTRIES.values() for remark in registry.remarks()):
        click.echo(remark, err=True)
    if form == "json":
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    widths = {column: max(len(str(line[column])) for line in found) for column in ("kind", "name", "package")}
    for line in found:
        columns = "  ".join(f"{line[column]:{width}}" for column, width in widths.items())
        click.echo(f"{columns}  {line['summary']}".rstrip())


def _summary(entry: Any) -> str:
    """Return the first line of what says how an entry works: its module's, or what it provides says of itself."""
    function = next((getattr(entry, name) for name in ("score", "masks", "run", "loss") if hasattr(entry, name)), None)
    if function is not None:
        module = inspect.getmodule(function)
        said = inspect.getdoc(module) if module is not None else None
    else:
        provided = entry.provides
        said = getattr(provided, "summary", None) or (inspect.getdoc(provided) if callable(provided) else None)
    return (said or "").split("\n\n")[0].replace("\n", " ")


def _first_comment(text: str) -> str:
    """Return the first sentence of the comment in front of a .cfg."""
    comment = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return re.split(r"\.(?= |$)", " ".join(line.strip("# ") for line in comment), maxsplit=1)[0]
