"""What a classifier costs: parameters and multiply–accumulates on paper, and time in turns with the unpruned one."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from robustprune.attacks import frozen
from robustprune.classification.networks.classifier import Classifier
from robustprune.core.devices import device_name
from robustprune.core.timing import take_turns, time_columns


class Size(NamedTuple):
    """Parameters, and the multiply–accumulates of convolutions and matrix products for one image."""

    params: int
    macs: int


@torch.no_grad()
def size(classifier: Classifier, *, image_size: int) -> Size:
    """Count by running a blank image, a square of `image_size` pixels; the meta device will do."""
    image = classifier.mean.new_zeros(1, 3, image_size, image_size)
    with frozen(classifier), FlopCounterMode(display=False) as counter:
        classifier(image)
    # A multiply-add is two operations there.
    return Size(sum(each.numel() for each in classifier.parameters()), counter.get_total_flops() // 2)


def measure_cost(
    pruned: Classifier, *, dense: Classifier, image_size: int, repeats: int, warm_up: int
) -> dict[str, Any]:
    """Return columns of a row: what is left of the unpruned classifier, and the time that one image takes either.

    Args:
        pruned: in eval mode.
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
    left, before = (size(each, image_size=image_size) for each in (pruned, dense))
    return {
        "params_total": before.params,
        "params_kept": left.params,
        "macs_dense": before.macs,
        "macs": left.macs,
        **time_columns(pruned_time, dense_time),
        "device": device_name(device),
    }
