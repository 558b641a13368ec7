"""What a pruned detector is beside the unpruned one: its sizes, and the time that one image takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from robustprune.core.devices import device_name
from robustprune.core.timing import take_turns, time_columns
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.compaction import compact
from robustprune.inference.cost import cost
from robustprune.inference.engine import dense_engine, fastest_engine


def measure_pruned(
    detector: Detector, masks: Mapping[str, Tensor], *, dense: Detector, image_size: int, repeats: int, warm_up: int
) -> dict[str, Any]:
    """Return columns of a row; times are of the fastest engine, in turns with the unpruned detector in its own.

    Args:
        detector: pruned by `masks`, and so is a layer that has none not pruned.
        masks: of each pruned layer's weights, by name.
        dense: the detector before it was pruned, on the same device.
        image_size: side of the square image, in pixels.
        repeats: how often each is timed.
        warm_up: how often each is run before.
    """
    weight = next(detector.parameters())
    image = torch.rand(1, detector.channels, image_size, image_size, generator=torch.Generator().manual_seed(0))
    image = image.to(weight.device)
    unpruned = dense_engine(dense, image)
    engine = fastest_engine(detector, image, dense=unpruned)
    with torch.inference_mode():
        pruned_time, dense_time = take_turns(
            [engine.on(image), unpruned.on(image)], repeats=repeats, warm_up=warm_up, device=weight.device
        )
    return {
        **time_columns(pruned_time, dense_time),
        "engine": engine.name,
        "device": device_name(weight.device),
        **cost(detector, masks, compacted=compact(detector), image_size=image_size)._asdict(),
    }
