"""What a classification study reads and tries before anything runs, and what it tells of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from robustprune import staging
from robustprune.classification import networks
from robustprune.classification.classifier import Classifier
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.given import given_weights
from robustprune.classification.networks.pruning import kept_whole
from robustprune.classification.task import ClassificationTask, held_out_of
from robustprune.classification.weights.fitting import Loaded, load_weights
from robustprune.core.errors import InputError
from robustprune.core.images.sharing import shared_pictures
from robustprune.core.operations import counted
from robustprune.methods import INITIALIZERS
from robustprune.structures import STRUCTURES
from robustprune.studies.caveats import few_images
from robustprune.studies.classification.settings import TRAININGS, ClassificationSettings, Statistics, Weights
from robustprune.studies.classification.work import stage_work
from robustprune.studies.cpu_time import too_slow
from robustprune.studies.in_words import listed
from robustprune.studies.pruning.ratios import check_ratios, layer_names
from robustprune.training.objectives import check_fit
from robustprune.training.renewal import capped
from sweeps.study import Cell

FEWEST = 5
"""Images of a class, of which fewer teach next to nothing."""

MOST_SHRUNK, MOST_ENLARGED = 8, 2
"""Factors by which pictures' sides may change without a sentence."""


def check_images(settings: ClassificationSettings) -> list[str]:
    """Read the images, and see that there are enough of them; return sentences on them, and on settings too large.

    Raises:
        InputError: there are too few, or they cannot be read, or are in both splits where that is refused.
    """
    train, test = settings.dataset.load("train"), settings.dataset.load("test")
    count = len(train)
    left = count - held_out_of(count, settings.holdout)
    if left < 2:
        raise InputError(
            f"holdout: found {settings.holdout:g}, which leaves {left} of {count} images to train on, "
            "expected at least 2"
        )
    if settings.initializers.hydra.batch_size < 2:  # type: ignore[attr-defined]
        raise InputError("initializers.hydra.batch_size: found 1, expected at least 2, for batch norm")
    contents = [images.contents for images in (train, test) if images.contents is not None]
    shared = shared_pictures(contents, getattr(settings.dataset, "shared_pictures", "tell"))
    return [
        *capped(settings.renewal, images=left),
        *train.remarks,
        *test.remarks,
        *shared,
        *few_images({"pretrain": settings.pretrain, "retrain": settings.retrain}, left),
        *_rare(train),
        *_resized(train, settings.dataset.image_size),
    ]


def check_objective(settings: ClassificationSettings, cells: Sequence[Cell], task: ClassificationTask) -> None:
    """See that models can be trained under attack in the way that is asked for, where any are.

    Raises:
        InputError: they cannot.
    """
    if any(cell["training"] == "adversarial" for cell in cells) or settings.retrain.under_attack:
        check_fit(
            settings.objective,
            task,
            attack=settings.adversary,
            fields=("objective", "adversary"),
            free=settings.free is not None,
        )


def check_time(settings: ClassificationSettings, cells: Sequence[Cell], *, on_cpu: bool) -> list[str]:
    """Return a sentence where the training of a model takes days on this machine."""
    most = max(sum(part.operations for part in stage_work(settings, "pretrain", cell)) for cell in cells)
    return too_slow(most, fields="dataset.train_images, epochs or dataset.image_size", on_cpu=on_cpu)


def _rare(train: LabelledImages) -> list[str]:
    """Return a sentence on classes of hardly any images."""
    counts = torch.bincount(train.labels, minlength=len(train.classes)).tolist()
    rare = [f"{name} {count}" for name, count in zip(train.classes, counts, strict=True) if count < FEWEST]
    return [f"classes of fewer than {FEWEST} images to train on: {listed(rare)}"] if rare else []


def _resized(train: LabelledImages, image_size: int) -> list[str]:
    """Return a sentence where pictures lose most of what they show, or have less than they are resized to."""
    if not train.files:
        return []
    width, height = (int(side) for side in np.median(np.array(train.files), axis=0))
    factor = (width * height) ** 0.5 / image_size
    if 1 / MOST_ENLARGED <= factor <= MOST_SHRUNK:
        return []
    return [
        f"dataset.image_size is {image_size}, and the median picture to train on has {width}x{height} pixels: what is "
        f"{'left of it has to tell the classes apart' if factor > 1 else 'added tells nothing'}"
    ]


def check_channels(settings: ClassificationSettings, cells: Sequence[Cell]) -> list[str]:
    """Try whether channels can be removed; return a sentence on each model some of whose layers stay whole."""
    told, size = [], settings.dataset.image_size
    pairs = dict.fromkeys((str(cell["model"]), str(cell["structure"])) for cell in cells)
    for model in dict.fromkeys(model for model, structure in pairs if STRUCTURES.lookup(structure).coupled):
        with torch.random.fork_rng(devices=[]):
            network = networks.build(model, classes=len(settings.dataset.classes), image_size=size)
        if whole := kept_whole(network.eval(), torch.zeros(1, 3, size, size)):
            names = ", ".join(whole[:3]) + (f" and {counted(len(whole) - 3, 'other')}" if len(whole) > 3 else "")
            told.append(f"{model}: channels of {names} cannot be pruned with all that depends on them, and stay")
    return told


def check_layers(
    settings: ClassificationSettings, cells: Sequence[Cell], task_of: Callable[[str, str], ClassificationTask]
) -> list[str]:
    """See that ratios of layers fit the models; return a sentence on each.

    Args:
        settings: of the study.
        cells: of the grid.
        task_of: from a model and a training to its task, on the meta device: names alone matter.

    Raises:
        InputError: they do not.
    """
    found = {}
    for model in dict.fromkeys(str(cell["model"]) for cell in cells) if settings.ratios else ():
        task = task_of(model, TRAININGS[0])
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            classifier = task.build().eval()
        found[model] = layer_names(classifier), list(task.prunable_layers(classifier))
    return check_ratios(settings.ratios, found)


def check_weights(
    settings: ClassificationSettings, cells: Sequence[Cell], task_of: Callable[[str, str], ClassificationTask]
) -> list[str]:
    """Load every file of weights, and see that each is of use and can be scored; return a sentence on each.

    Args:
        settings: of the study.
        cells: of the grid.
        task_of: from a model and a training to its task, on the CPU.

    Raises:
        InputError: a file is of no use, does not fit, or brings no normalisation where none is chosen.
    """
    told: dict[str, str] = {}
    asked: dict[tuple[str, str], set[str]] = {}
    for cell in cells:
        asked.setdefault((str(cell["model"]), str(cell["training"])), set()).add(str(cell["initializer"]))
    for model, files in settings.weights.items():
        trainings = [training for name, training in asked if name == model]
        trained_here = any(settings.given(model, training) is None for training in trainings)
        for use, weights in files:
            if weights is not None and (use not in trainings if use in TRAININGS else not trained_here):
                raise InputError(f"weights.{model}.{use}: found {weights.file}, which no cell of the grid needs")
    for (model, training), initializers in asked.items():
        task = task_of(model, training)
        with torch.random.fork_rng(devices=[]):
            classifier = task.build()
        found = None if task.weights is None else task.weights(classifier)
        classifier = task.placed(classifier)
        use, given = training, settings.given(model, training)
        if given is None:
            use, given = "initial", settings.initial(model)
        field = f"weights.{model}.{use}"
        if given is not None and field not in told:
            told[field] = f"{field}: {given.file}, {given_weights(classifier, settings.dataset.load('test'))}"
            if isinstance(found, Loaded) and found.scored:
                told[field] += "; HYDRA's scores in it are left out, and no weight is pruned by them"
        for initializer in sorted(initializers):
            check = INITIALIZERS.lookup(initializer).check
            if check is not None:
                check(task, classifier)
    return list(told.values())


def filled(classifier: Classifier, weights: Weights, field: str, *, study: Statistics | None) -> Loaded:
    """Fill a classifier with weights that are given.

    Args:
        classifier: with the normalisation of the weights, or else of the study, which the file's own replaces unless
            the weights name theirs.
        weights: to load.
        field: of the spec, for messages.
        study: the study's normalisation, if it names one.

    Raises:
        InputError: they do not fit, or nothing says what they were normalised by.
    """
    own, path = weights.normalisation, staging.local(weights.file, field)
    try:
        with staging.told_by_uri():
            found = load_weights(classifier, path, part=weights.part, normalise=own is None)
    except InputError as error:
        raise InputError(f"{field}: {error}") from error
    if not found.normalised and own is None and study is None:
        raise InputError(
            f"{field}: found no normalisation in {weights.file}, expected the one that it was trained with as "
            "normalisation: none, cifar10, imagenet, or {mean: [r, g, b], std: [r, g, b]}"
        )
    return found
