"""What a reader of a pruning study's results should know of its settings: what its seeds vary, what is short or few, in
what its methods are not alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from robustprune.core.operations import counted
from robustprune.methods import INITIALIZERS
from robustprune.structures import STRUCTURES
from robustprune.studies.seed_draws import DRAWN, SeedDraw
from robustprune.training import Training

SHORT = 0.25
"""Share of the epochs of pretraining below which training a pruned network again is called short.

Measured on the bundled demo's detector of version 0.1, pretrained for 12 epochs: one of fine-tuning left filters pruned
to half with an AP50 under attack of .11, and eight with .39.
"""


def seeds_vary(trained: Mapping[str, int], same: Sequence[str], *, draws: Sequence[SeedDraw] = DRAWN) -> str:
    """Return a sentence on what makes rows of different seeds differ.

    Args:
        trained: epochs of each training after the first thing that all seeds share, in words, such as `fine-tuning`.
        same: what all seeds share besides the data, in words.
        draws: what a seed draws.
    """
    done = " and ".join(name for name, epochs in trained.items() if epochs)
    drawn = f"{done} (order of images, augmentation), and" if done and "training" in draws else "no training, only"
    if done and "data" in draws:
        images = f"the images of {done}"
        drawn = f"{images}, {drawn}" if "training" in draws else f"{images}, and"
    others = "what scoring and attacks draw" if "scores" in draws else "what attacks draw"
    data = "the images to measure on" if done and "data" in draws else "the data"
    return f"seeds vary {drawn} {others}; the same for all: {', '.join([data, *same])}"


def short_retraining(
    cells: Sequence[Mapping[str, Any]], *, again: tuple[str, int], before: tuple[str, int]
) -> list[str]:
    """Return a sentence where networks without whole channels are trained again for less than `SHORT`; else nothing.

    Args:
        cells: of the grid, whose networks are trained both before and after they are pruned.
        again: the settings' field of the training afterwards, and its epochs.
        before: those of the training before.
    """
    named = {str(cell["structure"]) for cell in cells if cell["ratio"]}
    without_channels = [name for name in sorted(named) if name in STRUCTURES and STRUCTURES[name].coupled]
    if not without_channels or again[1] >= SHORT * before[1]:
        return []
    return [
        f"{again[0]}.epochs is {again[1]}, less than {SHORT:.0%} of {before[0]}.epochs, {before[1]}: "
        f"{', '.join(without_channels)} pruning needs longer to recover, and results tell of that too"
    ]


def few_images(trainings: Mapping[str, Training | None], images: int) -> list[str]:
    """Return a sentence per training whose batches are larger than all that there is to train on.

    Args:
        trainings: by the settings' field; None where there is none.
        images: to train on.
    """
    return [
        f"{field}.batch_size is {training.batch_size}, more than the {counted(images, 'image')} to train on: an "
        "epoch is one step"
        for field, training in trainings.items()
        if training is not None and training.epochs and training.batch_size > images
    ]


def unlike_methods(cells: Sequence[Mapping[str, Any]], settings: Callable[[str], Any]) -> list[str]:
    """Return sentences where a ratio is not the same for all methods, or some train weights and others do not.

    Args:
        cells: of the grid.
        settings: of a method, by its name.
    """
    pruned = [cell for cell in cells if cell["ratio"] and cell["initializer"] in INITIALIZERS]
    by_structure: dict[str, dict[str, None]] = {}
    for cell in pruned:
        by_structure.setdefault(str(cell["structure"]), {})[str(cell["initializer"])] = None
    said = []
    for structure, names in by_structure.items():
        of_operations = [name for name in names if INITIALIZERS[name].prunes == "operations"]
        others = [name for name in names if name not in of_operations]
        if of_operations and others:
            said.append(
                f"ratio: in the structure {structure} it is the share of operations that go for "
                f"{', '.join(of_operations)}, and the share of channels for {', '.join(others)}, of whose operations "
                "more go at the same ratio: compare them by operations_removed"
            )
    names = dict.fromkeys(name for of_it in by_structure.values() for name in of_it)
    epochs = {name: getattr(settings(name), "epochs", 0) for name in names if INITIALIZERS[name].trains == "onward"}
    longer = {name: count for name, count in epochs.items() if count}
    others = [name for name in names if INITIALIZERS[name].trains is None]
    if longer and others:
        told = ", ".join(f"{name} ({counted(count, 'epoch')})" for name, count in longer.items())
        said.append(
            f"{told}: weights are trained so much longer before they are pruned than for {', '.join(others)}; some of "
            "what that gains may be owed to the epochs alone"
        )
    return said
