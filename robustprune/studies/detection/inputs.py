"""What a study's detectors read: the images of a data set as they meet the network, with the detector's classes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal

from robustprune import staging
from robustprune.core.errors import InputError
from robustprune.detection import darknet, networks
from robustprune.detection.darknet import cfg
from robustprune.detection.data.classes import Arranged, by_name, groups_remark, paired_by_position
from robustprune.detection.data.datasets import Dataset
from robustprune.detection.data.samples import Samples
from robustprune.detection.detector import Detector
from robustprune.detection.image_size import in_words
from robustprune.detection.networks import Input
from robustprune.studies.detection.settings import DetectionSettings, DetectorSettings


def arranged(settings: DetectionSettings) -> Arranged:
    """Return the training and the validation split, their classes being the detector's, and remarks on that.

    Raises:
        InputError: the data or the names cannot be read, or do not belong together.
    """
    return _arranged(settings.dataset, settings.detector.class_names)


@functools.lru_cache(maxsize=4)
def _arranged(dataset: Dataset, names: tuple[str, ...] | None) -> Arranged:
    splits = dataset.splits()
    groups = groups_remark(splits[0])
    found = Arranged(splits, ()) if names is None else by_name(splits, names)
    return found._replace(remarks=(*([groups] if groups else []), *found.remarks))


def network_input(settings: DetectionSettings) -> Input:
    """Return what a picture becomes for the study's network."""
    detector = settings.detector
    classes = len(arranged(settings).splits[0].categories)
    return networks.input_of(detector.config, classes=classes, image_size=detector.size, fit=detector.fit)


def samples(settings: DetectionSettings, split: Literal["train", "val"]) -> Samples:
    """Return the images of a split; all stages that run in one process share what was read."""
    loader = settings.loader
    return _samples(
        settings.dataset,
        settings.detector.class_names,
        split,
        network_input(settings),
        loader.workers,
        loader.cache_gib,
    )


@functools.lru_cache(maxsize=4)
def _samples(
    dataset: Dataset, names: tuple[str, ...] | None, split: str, read: Input, workers: int, cache_gib: float
) -> Samples:
    train_split, val_split = _arranged(dataset, names).splits
    return Samples(
        train_split if split == "train" else val_split,
        image_size=read.size,
        fit=read.fit,
        channels=read.channels,
        workers=workers,
        cache_bytes=int(cache_gib * 2**30),
    )


def _is_a_file(config: str) -> bool:
    return not networks.is_named(config) and config not in cfg.bundled()


def load_weights(detector: Detector, settings: DetectorSettings) -> None:
    """Fill a detector with the weights that are given.

    Raises:
        InputError: they are not its own, or not of its sort.
    """
    if settings.backbone is not None:
        with staging.told_by_uri():
            detector.take_backbone(staging.local(settings.backbone, "detector.backbone"))
    path = settings.weights
    if path is None:
        return
    if not isinstance(detector, darknet.Detector):
        raise InputError(f"detector.weights: found {path}, expected none for a network that is not Darknet's")
    try:
        with staging.told_by_uri():
            darknet.load_weights(detector, staging.local(path, "detector.weights"), cutoff=settings.weights_cutoff)
    except InputError as error:
        own, found = darknet.classes_of(cfg.read(settings.config)), detector.heads[0].classes
        if own == found:
            raise
        raise InputError(
            f"{error}; {settings.config} has {own} classes, and the data set {found}: detector.names, the names of the "
            "detector's classes, keeps all of them, and detector.weights_cutoff leaves its heads out"
        ) from None


def input_remarks(settings: DetectionSettings, axes: Mapping[str, set[str]]) -> list[str]:
    """Return sentences on how classes were paired and how pictures meet the network, where that is not plain.

    Args:
        settings: of the study.
        axes: the colours of its cells, under `colour`.
    """
    detector = settings.detector
    found = arranged(settings)
    remarks = list(found.remarks)
    if detector.names is None and detector.weights is not None and detector.weights_cutoff is None:
        remarks.append(f"{paired_by_position(found.splits[0])} (detector.names: FILE)")
    read = network_input(settings)
    # Bundled networks that are trained from scratch are letterboxed, as they always were.
    if (
        detector.fit is not None
        or detector.weights is not None
        or read.fit != "letterbox"
        or _is_a_file(detector.config)
    ):
        how = "stretched" if read.fit == "stretch" else "letterboxed"
        remarks.append(f"detector.fit: pictures are {how} to {in_words(read.size)} pixels, since {read.reason}")
    if read.channels == 1:
        colours = "; colours rgb and greyscale are the same there" if len(axes["colour"]) > 1 else ""
        remarks.append(f"detector.config: the network has one channel, so that all pictures become grey{colours}")
    return remarks
