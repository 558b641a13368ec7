"""CenterNets whose weights and constants show in the outputs, and masks for them."""

from __future__ import annotations

import copy

import torch

from robustprune.core.arrays import to_arrays
from robustprune.detection import networks
from robustprune.detection.centernet.network import CenterNet
from robustprune.detection.detector import Detector
from robustprune.structures import draw_masks
from robustprune.structures import masks as masking
from robustprune.structures.removal import departing, kept_decisions, unread
from robustprune.studies.pruning.pruned import Pruned
from tests.robustprune.detection.tasks import task_of
from tests.support import batch_norms

CLASSES = 6


def experienced(name: str = "centernet-small", *, image_size: int = 64) -> CenterNet:
    """Return a detector whose batch norms are those of no fresh network, in eval mode."""
    torch.manual_seed(0)
    detector = networks.build(name, classes=CLASSES, image_size=image_size)
    assert isinstance(detector, CenterNet)
    batch_norms.draw(detector)
    return detector.eval()


def filters_masked(detector: Detector, ratio: float) -> Pruned:
    """Mask filters of a detector, as rows do, and return what that left."""
    task = task_of(detector)
    groups = task.coupled_groups(copy.deepcopy(detector))
    importance = {name: layer.weight.detach().abs() for name, layer in task.prunable_layers(detector).items()}
    masks = draw_masks("structured", importance, ratio, groups=groups, scope="layer", comparable=False)
    kept = kept_decisions(groups, masks)
    departed = departing(detector, groups, kept)
    pruned = Pruned(masks, None, departed, unread(detector, groups, kept, departed))
    masking.apply(pruned.held, detector)
    return pruned


def state(detector: CenterNet) -> dict[str, bytes]:
    """Return all of a detector's numbers, to compare."""
    return {name: array.tobytes() for name, array in to_arrays(detector.state_dict()).items()}
