"""The engines of a Darknet detector; how the fastest one is found is told in `inference.engine`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from robustprune.detection.darknet.compact.compaction import compact, whole
from robustprune.detection.darknet.network import Detector
from robustprune.inference import engine
from robustprune.inference.engine import Engine


def dense_engine(detector: Detector, image: Tensor) -> Engine:
    """Return a whole detector, its batch norms folded, in the memory format in which it is faster.

    Args:
        detector: what zeros it has are made no use of.
        image: (1, channels, H, W), what is timed with, on the detector's device.
    """
    return engine.dense_engine(whole(detector), image)


def fastest_engine(
    detector: Detector, image: Tensor, *, dense: Engine, round_to: Sequence[int] | None = None
) -> Engine:
    """Return the engine that runs a pruned detector fastest; arguments as for `inference.engine.fastest_engine`."""
    return engine.fastest_engine(
        whole(detector),
        lambda multiple: compact(detector, round_to=multiple),
        image,
        dense=dense,
        round_to=round_to,
    )
