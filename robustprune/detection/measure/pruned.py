"""What a pruned detector is beside the unpruned one: its sizes, and the time that one image takes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from robustprune.core.devices import place
from robustprune.core.timing import TimingSettings, compare
from robustprune.detection import darknet
from robustprune.detection.darknet.compact.compaction import compact
from robustprune.detection.darknet.compact.engines import dense_engine, fastest_engine
from robustprune.detection.detector import AnchorDetector
from robustprune.detection.image_size import ImageSize, sides
from robustprune.inference import engine
from robustprune.inference.cost import cost, size


def measure_pruned(
    detector: AnchorDetector,
    masks: Mapping[str, Tensor],
    *,
    dense: AnchorDetector,
    image_size: ImageSize,
    timing: TimingSettings,
    gone: Mapping[str, Tensor] | None = None,
) -> dict[str, Any]:
    """Return columns of a row; times are of the fastest engine, in turns with the unpruned detector in its own.

    Detectors that are not Darknet's have no smaller form yet: they are timed as they are.

    Args:
        detector: pruned by `masks`, and so is a layer that has none not pruned.
        masks: of each pruned layer's weights, by name.
        dense: the detector before it was pruned, on the same device.
        image_size: of the image.
        timing: how often each is timed.
        gone: see `cost`.
    """
    device = next(detector.parameters()).device
    image = torch.rand(1, detector.channels, *sides(image_size), generator=torch.Generator().manual_seed(0))
    image = image.to(device)
    if isinstance(detector, darknet.Detector):
        assert isinstance(dense, darknet.Detector)
        unpruned = dense_engine(dense, image)
        own = fastest_engine(detector, image, dense=unpruned)
        smaller = size(compact(detector), image)
    else:
        unpruned = engine.dense_engine(dense, image)
        own = engine.Engine("dense", detector, unpruned.memory_format)
        smaller = size(detector, image)
    with torch.inference_mode():
        # Copied in this mode, as engines are made: ordinary tensors take 3% longer in it, and twins would differ.
        twin = unpruned._replace(network=copy.deepcopy(unpruned.network))
        compared = compare(own.on(image), unpruned.on(image), twin.on(image), settings=timing, device=device)
    where = place(device)
    return {
        **compared.columns(alone=where["device_shared_by"] == 1),
        "engine": own.name,
        **where,
        **cost(detector, masks, image, gone=gone)._asdict(),
        "params_compact": smaller.params,
        "macs_compact": smaller.macs,
    }
