"""Detectors by name or by .cfg: Darknet's, and those of other families, ours and those that plug-ins bring."""

from __future__ import annotations

import difflib
import functools
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import torch

from robustprune.core.errors import InputError
from robustprune.detection import darknet
from robustprune.detection.anchors.detector import AnchorDetector
from robustprune.detection.centernet.by_name import CENTERNETS
from robustprune.detection.darknet import cfg
from robustprune.detection.darknet.ends import fit_of, suppression_of
from robustprune.detection.data.letterbox import Fit
from robustprune.detection.detector import GREEDY, Detector
from robustprune.detection.image_size import ImageSize, smallest
from robustprune.plugins import identities, task_registry

NETWORKS = task_registry("robustprune.networks", kind="network", task="detection", bundled=CENTERNETS)
"""`provides(classes=…, image_size=…)` returns a `Detector`, its weights drawn from torch's own generator; a
`DetectorBuilder` tells more of it."""


class Input(NamedTuple):
    """What a picture becomes for a network; `reason` is half a sentence on why it fits so."""

    size: ImageSize
    channels: int
    fit: Fit
    reason: str


def build(config: str, *, classes: int, image_size: ImageSize, loss: str | None = None) -> Detector:
    """Return a detector with new weights, drawn from torch's global generator.

    Args:
        config: a Darknet .cfg, the name of a bundled one, or the name of another network.
        classes: how many it tells apart.
        image_size: of the images, in pixels.
        loss: that it is trained with, in place of its family's.

    Raises:
        InputError: there is no such network, its .cfg is wrong, or the loss is another family's.
    """
    network: Detector
    if is_named(config):
        provides = NETWORKS.lookup(config).provides
        if not isinstance(image_size, int) and not getattr(provides, "oblong", False):
            raise InputError(f"detector.image_size: found two sides, expected one: {config} is made for squares")
        network = provides(classes=classes, image_size=image_size)
        assert isinstance(network, Detector), f"{config} is a {type(network).__name__}"
    else:
        network = darknet.Detector.from_cfg(config, classes=classes)
    if loss is not None:
        network.take_loss(loss)
    return network


def own_loss(config: str) -> str | None:
    """Return which of `LOSSES` a network is trained with unless another is asked for; None where it has its own.

    What a plug-in provides tells it by an attribute; without one, it is that of detectors with anchors.
    """
    provides = NETWORKS[config].provides if config in NETWORKS else AnchorDetector
    found: str | None = getattr(provides, "loss_name", AnchorDetector.loss_name)
    return found


@functools.lru_cache(maxsize=8)
def input_of(config: str, *, classes: int, image_size: ImageSize | None, fit: Fit | None) -> Input:
    """Return what a network reads.

    Args:
        config: as `build` takes it.
        classes: likewise.
        image_size: in place of the .cfg's, or of the network's own.
        fit: in place of what the .cfg says.

    Raises:
        InputError: there is no such network, its .cfg is wrong, or one that is no .cfg has no size.
    """
    given = "detector.fit says so"
    if is_named(config):
        image_size = image_size or getattr(NETWORKS.lookup(config).provides, "image_size", None)
        if not isinstance(image_size, int | tuple):
            raise InputError(
                f"detector.image_size: found nothing, expected the side of the images: {config} names none"
            )
        # On the meta device: shapes without numbers.
        with torch.device("meta"):
            channels = build(config, classes=classes, image_size=image_size).channels
        return Input(
            image_size, channels, fit or "letterbox", given if fit else f"{config} has no .cfg that says otherwise"
        )
    net = (sections := _sections(config))[0]
    height, width, channels = (net.integer(key, minimum=1) for key in ("height", "width", "channels"))
    own = fit_of(sections)
    return Input(
        smallest(height, width) if image_size is None else image_size,
        channels,
        own.fit if fit is None else fit,
        own.reason if fit is None else given,
    )


def is_named(config: str) -> bool:
    """Say whether a network is known by its name, and no Darknet .cfg."""
    return config in NETWORKS or config in NETWORKS.broken


def _sections(config: str) -> tuple[cfg.Section, ...]:
    """Return those of a .cfg; a mistyped name of another network is told from that of a file."""
    try:
        return cfg.read(config)
    except InputError as error:
        near = difflib.get_close_matches(config, NETWORKS, n=1)
        if not near or config in cfg.bundled() or Path(config).exists():
            raise
        raise InputError(f"{config!r} is no readable .cfg file and no network; the nearest is {near[0]!r}") from error


def answers_otherwise(config: str, fit: Fit | None) -> dict[str, Any]:
    """Return, as JSON, what keys have to say of a network's ends where these are not what they used to be for all.

    It used to letterbox every picture, and to suppress boxes by IoU.
    """
    if is_named(config):
        return {"fit": fit} if fit == "stretch" else {}
    sections = _sections(config)
    own = fit_of(sections).fit if fit is None else fit
    suppression = suppression_of(sections)
    return {
        **({"fit": own} if own != "letterbox" else {}),
        **({"suppression": list(suppression)} if suppression != GREEDY else {}),
    }


def network_identity(config: str) -> Any:
    """Return, as JSON, what identifies a network: what a .cfg says, not its comments or where it lies; or a name."""
    if config in NETWORKS:
        return {"network": config, **identities((NETWORKS, config))}
    said = [(section.name, sorted(section.options.items())) for section in _sections(config)]
    return hashlib.sha256(repr(said).encode()).hexdigest()
