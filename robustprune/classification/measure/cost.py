"""What a pruned classifier is beside the unpruned one: its sizes, and the time that one image takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from robustprune.classification.classifier import Classifier
from robustprune.classification.networks.pruning import channel_groups
from robustprune.core.devices import place
from robustprune.core.timing import TimingSettings
from robustprune.inference import engine, traced_engines
from robustprune.inference.cost import cost, size
from robustprune.inference.engine import Engine
from robustprune.inference.without_channels import without_idle_channels

COUNTED: dict[str, type] = {
    "params_total": int,
    "params_kept": int,
    "macs_dense": int,
    "macs": int,
    "compression": float,
    "operations_removed": float,
}
"""Columns of a row that tell its sizes, of `inference.cost.Cost`: those that channels which left count in, too."""


def measure_cost(
    pruned: Classifier,
    masks: Mapping[str, Tensor],
    *,
    dense: Classifier,
    image_size: int,
    timing: TimingSettings,
    gone: Mapping[str, Tensor] | None = None,
) -> dict[str, Any]:
    """Return columns of a row: what is left of the unpruned classifier, and the time that one image takes either, each
    in its fastest engine.

    Args:
        pruned: in eval mode; its channels may have left it.
        masks: of the weights that stay as zeros, by layer.
        dense: the classifier before it was pruned, in eval mode, on the same device.
        image_size: side of the square image, in pixels.
        timing: how often each is timed.
        gone: see `cost`.
    """
    device = dense.mean.device
    image = torch.rand(1, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(device)
    unpruned = traced_engines.dense_engine(dense, image)
    own = fastest_engine(pruned, image, dense=unpruned)
    compared = engine.compared(own, unpruned, image, settings=timing)
    where = place(device)
    counted = cost(pruned, masks, image, gone=gone, before=size(dense, image))._asdict()
    return {
        **{name: counted[name] for name in COUNTED},
        **compared.columns(alone=where["device_shared_by"] == 1),
        "engine": own.name,
        **where,
    }


def smaller(classifier: Classifier, image: Tensor) -> nn.Module:
    """Return what is left of a classifier without the channels that are zero as a whole.

    Args:
        classifier: in eval mode; not changed.
        image: (1, 3, S, S), on its device.
    """
    return without_idle_channels(classifier, image, find=channel_groups)


def fastest_engine(classifier: Classifier, image: Tensor, *, dense: Engine) -> Engine:
    """Return the engine that runs a pruned classifier fastest, `dense` being that of the unpruned one, to be beaten."""
    return traced_engines.fastest_engine(classifier, smaller(classifier, image), image, dense=dense)
