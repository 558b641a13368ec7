"""What a pruned classifier is beside the unpruned one: its sizes, and the time that one image takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from robustprune.classification.classifier import Classifier
from robustprune.core.devices import device_name
from robustprune.core.timing import take_turns, time_columns
from robustprune.inference.cost import cost, size


def measure_cost(
    pruned: Classifier,
    masks: Mapping[str, Tensor],
    *,
    dense: Classifier,
    image_size: int,
    repeats: int,
    warm_up: int,
) -> dict[str, Any]:
    """Return columns of a row: what is left of the unpruned classifier, and the time that one image takes either.

    Args:
        pruned: in eval mode; its channels may have left it.
        masks: of the weights that stay as zeros, by layer.
        dense: the classifier before it was pruned, in eval mode, on the same device.
        image_size: side of the square image, in pixels.
        repeats: how often each is timed.
        warm_up: how often each is run before.
    """
    device = dense.mean.device
    image = torch.rand(1, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode():
        pruned_time, dense_time = take_turns(
            [lambda: pruned(image), lambda: dense(image)], repeats=repeats, warm_up=warm_up, device=device
        )
    before, left = size(dense, image), cost(pruned, masks, image)
    return {
        "params_total": before.params,
        "params_kept": left.params_kept,
        "macs_dense": before.macs,
        "macs": left.macs,
        **time_columns(pruned_time, dense_time),
        "device": device_name(device),
    }
