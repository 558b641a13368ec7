"""What a pruned detector is beside the unpruned one: its sizes, and the time that one image takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from robustprune.core.devices import place
from robustprune.core.timing import TimingSettings
from robustprune.detection import darknet
from robustprune.detection.darknet.compact import engines as darknet_engines
from robustprune.detection.darknet.compact.compaction import compact
from robustprune.detection.detector import Detector
from robustprune.detection.image_size import ImageSize, sides
from robustprune.inference import engine, traced_engines
from robustprune.inference.cost import cost, size
from robustprune.inference.engine import Engine
from robustprune.inference.without_channels import without_idle_channels


def measure_pruned(
    detector: Detector,
    masks: Mapping[str, Tensor],
    *,
    dense: Detector,
    image_size: ImageSize,
    timing: TimingSettings,
    gone: Mapping[str, Tensor] | None = None,
) -> dict[str, Any]:
    """Return columns of a row; times are of the fastest engine, in turns with the unpruned detector in its own.

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
    unpruned = dense_engine(dense, image)
    own = fastest_engine(detector, image, dense=unpruned)
    left = size(smaller(detector, image), image)
    where = place(device)
    return {
        **engine.compared(own, unpruned, image, settings=timing).columns(alone=where["device_shared_by"] == 1),
        "engine": own.name,
        **where,
        **cost(detector, masks, image, gone=gone)._asdict(),
        "params_compact": left.params,
        "macs_compact": left.macs,
    }


def smaller(detector: Detector, image: Tensor) -> nn.Module:
    """Return what is left of a detector without what its zeros make idle: by constants along Darknet's graph, batch
    norms folded; of others, without the channels that are zero as a whole.

    Args:
        detector: not changed.
        image: (1, channels, H, W), on its device.
    """
    if isinstance(detector, darknet.Detector):
        return compact(detector)
    return without_idle_channels(detector, image)


def dense_engine(detector: Detector, image: Tensor) -> Engine:
    """Return a whole detector, of whose zeros no use is made, as it runs fastest; arguments are those of `smaller`."""
    if isinstance(detector, darknet.Detector):
        return darknet_engines.dense_engine(detector, image)
    return traced_engines.dense_engine(detector, image)


def fastest_engine(detector: Detector, image: Tensor, *, dense: Engine) -> Engine:
    """Return the engine that runs a pruned detector fastest, `dense` being that of the unpruned one, to be beaten."""
    if isinstance(detector, darknet.Detector):
        return darknet_engines.fastest_engine(detector, image, dense=dense)
    return traced_engines.fastest_engine(detector, smaller(detector, image), image, dense=dense)
