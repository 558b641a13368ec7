"""Detectors by name or by .cfg: Darknet's, and those of other families that plug-ins bring."""

from __future__ import annotations

import hashlib
from typing import Any

from robustprune.detection.darknet import Detector, cfg
from robustprune.detection.detector import AnchorDetector
from robustprune.plugins import identities, task_registry

NETWORKS = task_registry("robustprune.networks", kind="network", task="detection", bundled={})
"""`provides(classes=…, image_size=…)` returns an `AnchorDetector`, its weights drawn from torch's own generator."""


def build(config: str, *, classes: int, image_size: int) -> AnchorDetector:
    """Return a detector with new weights, drawn from torch's global generator.

    Args:
        config: a Darknet .cfg, the name of a bundled one, or the name of a plug-in's network.
        classes: how many it tells apart.
        image_size: side of the square images, in pixels.

    Raises:
        InputError: there is no such network, or its .cfg is wrong.
    """
    if config in NETWORKS or config in NETWORKS.broken:
        network: AnchorDetector = NETWORKS.lookup(config).provides(classes=classes, image_size=image_size)
        assert isinstance(network, AnchorDetector), f"{config} is a {type(network).__name__}"
        return network
    return Detector.from_cfg(config, classes=classes)


def network_identity(config: str) -> Any:
    """Return, as JSON, what identifies a network: what a .cfg says, not its comments or where it lies; or a name."""
    if config in NETWORKS:
        return {"network": config, **identities((NETWORKS, config))}
    said = [(section.name, sorted(section.options.items())) for section in cfg.read(config)]
    return hashlib.sha256(repr(said).encode()).hexdigest()
